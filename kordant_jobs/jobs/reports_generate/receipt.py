"""The report's signed receipt: a line of text and a QR code with the whole receipt. Pure."""

from dataclasses import dataclass

import segno
from markupsafe import Markup, escape

from kordant_jobs.domain.reports.receipts import fingerprint, in_groups
from kordant_jobs.wording import Wording

SIDE_PT = 128
"""With this side a code of 110 modules has 0.41 mm for each, which phones can read from paper."""


@dataclass(frozen=True, kw_only=True)
class ReceiptSection:
    """The section; without a `code` it is not shown."""

    title: str
    text: str
    line: str
    code: str


def receipt_section(words: Wording, receipt: str) -> ReceiptSection:
    """The section for a signed receipt; empty for none."""
    if not receipt:
        return ReceiptSection(title="", text="", line="", code="")
    name = in_groups(fingerprint(receipt))
    return ReceiptSection(
        title=words.say("Receipt"),
        text=words.say(
            "The code holds a signed receipt: which sources were asked on how many days of this period, about how many "
            "identifiers, and what they said. It names no identifier. Whoever has our public key can verify it without "
            "us, and that no earlier receipt was left out."
        ),
        line=words.say("Fingerprint %(name)s", name=name),
        code=_code(receipt, words.say("The receipt as a QR code. Its fingerprint is %(name)s.", name=name)),
    )


def _code(receipt: str, title: str) -> str:
    """The QR code as SVG: one path of the black runs of modules, row by row."""
    made = segno.make_qr(
        receipt, error="l", mask=0, boost_error=False
    )  # without a mask tried, in an eighth of the time
    path: list[str] = []
    side, start = 0, None
    for y, row in enumerate(map(bytes, made.matrix_iter(border=4))):
        side = len(row)
        for x, is_dark in enumerate([*row, 0]):
            if is_dark and start is None:
                start = x
            elif not is_dark and start is not None:
                path.append(f"M{start} {y}h{x - start}v1h-{x - start}z")
                start = None
    return Markup(  # noqa: S704 - numbers, and a title that was escaped
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE_PT}pt" height="{SIDE_PT}pt" viewBox="0 0 {side} {side}" '
        f'role="img"><title>{escape(title)}</title><path d="{"".join(path)}" fill="#000"/></svg>'
    )
