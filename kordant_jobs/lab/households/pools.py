"""The material of invented accounts: names, styles of description lines, parameters.

Two pools with no merchant, style or parameter in common. Rules are tuned on `TUNING` only; the figures that count come
from `FRESH`. Most names are invented from syllables by the seed, so that no dictionary helps.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Templates of one world. A style is a format with `name`, `NAME`, `code`, `dm` (day/month) and `city`."""

    subscriptions: tuple[str, ...]
    fx_subscriptions: tuple[str, ...]
    """Billed in dollars."""
    mixed_shops: tuple[tuple[str, str], ...]
    """Shops that sell a subscription and single things: (name, kind of single thing)."""
    utilities: tuple[str, ...]
    water: tuple[str, ...]
    telecom: tuple[str, ...]
    syllables: tuple[str, ...]
    cities: tuple[str, ...]
    card_styles: tuple[str, ...]
    pix_styles: tuple[str, ...]
    pix_in_styles: tuple[str, ...]
    boleto_styles: tuple[str, ...]
    debit_styles: tuple[str, ...]
    payroll: tuple[str, ...]
    card_payment: tuple[tuple[str, str], ...]
    """Payment of a card bill: the line in the account, the line on the card."""
    own_transfer: tuple[tuple[str, str], ...]
    fee: tuple[str, ...]
    overdraft: tuple[str, ...]
    given: tuple[str, ...]
    surnames: tuple[str, ...]
    drift_rate: float
    """Share of streams whose description changes once."""
    rise_rate: float
    """Price rises a year of a fixed stream."""
    skip_rate: float
    late_sd: float
    """Days."""


TUNING = Pool(
    subscriptions=("NETFLIX.COM", "Spotify", "GLOBOPLAY", "DISNEY PLUS", "UOL", "SMARTFIT", "YOUTUBE PREMIUM", "MELI+"),
    fx_subscriptions=("OPENAI CHATGPT", "GITHUB", "DROPBOX", "NOTION LABS"),
    mixed_shops=(("AMAZON BR", "shopping"), ("APPLE.COM/BILL", "shopping"), ("UBER", "transport")),
    utilities=("ENEL SP", "CPFL PAULISTA", "LIGHT SERVICOS"),
    water=("SABESP", "COPASA"),
    telecom=("VIVO", "CLARO", "TIM CELULAR"),
    syllables=("ba", "ru", "mel", "to", "ca", "lin", "do", "ver", "sa", "pin", "gui", "tor", "na", "fel", "mo", "zar"),
    cities=("SAO PAULO", "CAMPINAS", "OSASCO", "RIO DE JANEIRO"),
    card_styles=("{NAME}", "{NAME} {city} BR", "PAG*{name}", "{NAME}*{code}", "MP *{NAME}", "RSHOP-{NAME}-{dm}"),
    pix_styles=("PIX ENVIADO {NAME}", "Pix enviado - {name}", "PIX TRANSF {NAME}{dm}", "TRANSFERENCIA PIX {NAME}"),
    pix_in_styles=("PIX RECEBIDO {NAME}", "Pix recebido - {name}", "PIX RECEBIDO {NAME} {dm}"),
    boleto_styles=("PGTO BOLETO {NAME}", "PAGTO TITULO {NAME} {code}", "PAG BOLETO - {NAME}"),
    debit_styles=("DEB AUT {NAME}", "DEBITO AUTOMATICO {NAME}", "DEB.AUTOR. {NAME} {code}"),
    payroll=("CREDITO SALARIO {NAME}", "FOLHA PAGAMENTO {NAME}", "PAGTO SALARIO {NAME} {dm}"),
    card_payment=(("PAGAMENTO FATURA CARTAO", "PAGAMENTO RECEBIDO"), ("PGTO FATURA", "PAGAMENTO EFETUADO")),
    own_transfer=(("TRANSF ENTRE CONTAS", "TRANSF ENTRE CONTAS"), ("PIX ENVIADO {NAME}", "PIX RECEBIDO {NAME}")),
    fee=("TARIFA PACOTE DE SERVICOS", "CESTA B.EXPRESSO"),
    overdraft=("ENCARGOS LIMITE DE CREDITO", "JUROS CHEQUE ESPECIAL"),
    given=("ANA", "BRUNO", "CARLA", "DIEGO", "ELISA", "FABIO", "GILDA", "HUGO", "IARA", "JOAO"),
    surnames=("SILVA", "SOUZA", "PEREIRA", "LIMA", "GOMES", "RIBEIRO", "MARTINS", "ALVES"),
    drift_rate=0.12,
    rise_rate=0.5,
    skip_rate=0.02,
    late_sd=0.8,
)

FRESH = Pool(
    subscriptions=(
        "HBO MAX", "Deezer", "PARAMOUNT MAIS", "CRUNCHYROLL", "TELECINE", "BLUEFIT", "KINDLE UNLTD", "IFOOD CLUBE",
        "WELLHUB", "ESTADAO DIGITAL",
    ),
    fx_subscriptions=("ADOBE INC", "CANVA PTY", "LINKEDIN PRE", "MIDJOURNEY", "FIGMA"),
    mixed_shops=(
        ("GOOGLE PLAY", "shopping"), ("MERCADOLIVRE", "shopping"), ("PLAYSTATION NETWORK", "shopping"),
        ("99 TECNOLOGIA", "transport"), ("RAPPI", "restaurants"),
    ),
    utilities=("CEMIG DISTRIBUICAO", "COELBA", "ENERGISA MT", "NEOENERGIA PE", "COMGAS"),
    water=("CEDAE", "SANEPAR", "EMBASA", "COMPESA"),
    telecom=("OI FIBRA", "BRISANET", "DESKTOP INTERNET", "NEXTEL", "ALGAR"),
    syllables=("xa", "vi", "gran", "peu", "ne", "bro", "lha", "tis", "ro", "que", "jun", "dra", "me", "cos", "il", "fu"),
    cities=("CURITIBA", "BELO HORIZON", "RECIFE", "PORTO ALEGRE", "SALVADOR"),
    card_styles=(
        "COMPRA CARTAO {NAME} {city}", "EC *{NAME}", "{name}", "{NAME} {code}", "COMPRA DEBITO VISA {NAME} {dm}",
        "IFD*{NAME}", "SUMUP *{NAME}", "{NAME} - {city} - BRA", "HTM*{name}",
    ),
    pix_styles=(
        "Transferência enviada pelo Pix - {name}", "ENVIO PIX {NAME}", "PIX QRS {NAME} {dm}", "PAGAMENTO PIX {NAME}",
        "PIX - ENVIADO {dm} {NAME}",
    ),
    pix_in_styles=("Transferência Recebida - {name}", "PIX - RECEBIDO {dm} {NAME}", "RECEBIMENTO PIX {NAME}"),
    boleto_styles=("PAGAMENTO DE BOLETO {NAME}", "PGT TIT {NAME} {code}", "BOLETO PAGO {name}", "PAG TIT BANCO {NAME}"),
    debit_styles=("DA {NAME} {code}", "Débito automático - {name}", "DEB AUTOM {NAME}", "CONTA PAGA {NAME} {dm}"),
    payroll=("PAGTO PROVENTOS {NAME}", "REMUNERACAO/SALARIO {NAME}", "TED SALARIO {NAME}", "LIQ FOLHA {NAME} {code}"),
    card_payment=(
        ("PAGTO FATURA DO CARTAO", "Pagamento de fatura"), ("INT PAG CARTAO", "PAGTO DEBITO AUTOMATICO"),
        ("PAGAMENTO CARTAO DE CREDITO", "CREDITO DE PAGAMENTO"),
    ),
    own_transfer=(("TED MESMA TITULARIDADE", "TED RECEBIDA"), ("ENVIO PIX {NAME}", "RECEBIMENTO PIX {NAME}")),
    fee=("TAR MENSALIDADE PACOTE", "MANUTENCAO DE CONTA"),
    overdraft=("JUROS SALDO DEVEDOR", "ENCARGOS CH ESPECIAL"),
    given=("LARA", "MARIO", "NINA", "OTAVIO", "PAULA", "RUI", "SARA", "TALES", "VERA", "WAGNER", "YARA"),
    surnames=("ARAUJO", "BARROS", "CAMPOS", "DUARTE", "FREITAS", "MOURA", "NUNES", "PRADO", "TELES"),
    drift_rate=0.15,
    rise_rate=0.6,
    skip_rate=0.03,
    late_sd=1.0,
)  # fmt: skip


def pool_of(seed: int) -> Pool:
    """Seeds under 1000 are for tuning; from there on all is fresh."""
    return TUNING if seed < 1000 else FRESH


def made_name(rng: np.random.Generator, pool: Pool, *, kind: str = "") -> str:
    """An invented merchant: two or three syllables, perhaps after its kind."""
    stem = "".join(rng.choice(pool.syllables, size=int(rng.integers(2, 4)))).upper()
    return f"{kind} {stem}".strip()


def person(rng: np.random.Generator, pool: Pool) -> str:
    """An invented person."""
    first, last, other = rng.choice(pool.given), rng.choice(pool.surnames), rng.choice(pool.surnames)
    return f"{first} {last} {other}" if rng.random() < 0.5 else f"{first} {last}"
