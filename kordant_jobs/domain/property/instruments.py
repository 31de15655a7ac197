"""A recorded instrument: its effect, its parties with their roles, its parcels; and the effect of a county's document
type: by its code table first, then by the words of its label. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from urllib.parse import quote


class Event(StrEnum):
    """The effect of an instrument on a parcel."""

    OWNERSHIP_CHANGE = "ownership_change"
    PARTIAL_TRANSFER = "partial_transfer"
    TAX_DEED = "tax_deed"
    """Sold by a sheriff, a court or for taxes."""
    TRANSFER_ON_DEATH = "transfer_on_death"
    TOD_REVOKED = "tod_revoked"
    CORRECTION = "correction"
    NAME_CHANGE = "name_change"
    POWER_OF_ATTORNEY = "power_of_attorney"
    POWER_REVOKED = "power_revoked"
    CONTRACT = "contract"
    MORTGAGE = "mortgage"
    MORTGAGE_CHANGE = "mortgage_change"
    """Consolidated, modified, spread, assumed: the debt stays."""
    ASSIGNMENT = "assignment"
    LIEN = "lien"
    LIS_PENDENS = "lis_pendens"
    RELEASE = "release"
    """Closes a mortgage, a lien or a notice of pendency."""
    PARTIAL_RELEASE = "partial_release"
    MAILING_ADDRESS_CHANGED = "mailing_address_changed"
    """Read from the county's owner roll; no document shows it."""
    OWNER_CHANGED_ON_ROLL = "owner_changed_on_roll"
    """Read from the county's owner roll; no recorded document explains it."""
    OTHER = "other"
    """Recorded, but changes neither title nor debt: leases, easements, declarations, tax forms."""
    UNKNOWN = "unknown"
    """A code that no table and no word explains. The document is kept and counted, never skipped."""


class Form(StrEnum):
    """The sort of deed, where the sort matters for severity."""

    PLAIN = "plain"
    QUITCLAIM = "quitclaim"
    FIDUCIARY = "fiduciary"
    """By an executor, administrator, guardian or personal representative."""
    TRUSTEE = "trustee"


class Role(StrEnum):
    """The role of a party in an instrument."""

    GRANTOR = "grantor"
    GRANTEE = "grantee"
    LIFE_TENANT = "life_tenant"
    BORROWER = "borrower"
    LENDER = "lender"
    OLD_LENDER = "old_lender"
    NEW_LENDER = "new_lender"
    DEBTOR = "debtor"
    CLAIMANT = "claimant"
    PRINCIPAL = "principal"
    ATTORNEY = "attorney"
    PARTY = "party"


_BY_SIDES: Mapping[tuple[Role, Role], tuple[Event, ...]] = {
    (Role.GRANTOR, Role.GRANTEE): (
        Event.OWNERSHIP_CHANGE, Event.PARTIAL_TRANSFER, Event.TAX_DEED, Event.TRANSFER_ON_DEATH, Event.TOD_REVOKED,
        Event.CORRECTION, Event.NAME_CHANGE, Event.CONTRACT, Event.MAILING_ADDRESS_CHANGED, Event.OWNER_CHANGED_ON_ROLL,
    ),
    (Role.PRINCIPAL, Role.ATTORNEY): (Event.POWER_OF_ATTORNEY, Event.POWER_REVOKED),
    (Role.BORROWER, Role.LENDER): (Event.MORTGAGE, Event.MORTGAGE_CHANGE),
    (Role.OLD_LENDER, Role.NEW_LENDER): (Event.ASSIGNMENT,),
    (Role.DEBTOR, Role.CLAIMANT): (Event.LIEN, Event.LIS_PENDENS, Event.RELEASE, Event.PARTIAL_RELEASE),
}  # fmt: skip
_SIDES = {event: sides for sides, events in _BY_SIDES.items() for event in events}


def role_of(event: Event, side: int, *, swapped: bool = False) -> Role:
    """The role of party 1, 2 or 3. `swapped`: this code names parties 1 and 2 the other way round.

    >>> role_of(Event.MORTGAGE, 2), role_of(Event.LIEN, 1, swapped=True), role_of(Event.OWNERSHIP_CHANGE, 3)
    (<Role.LENDER: 'lender'>, <Role.CLAIMANT: 'claimant'>, <Role.LIFE_TENANT: 'life_tenant'>)
    """
    if event not in _SIDES:
        return Role.PARTY
    if side not in {1, 2}:
        return Role.LIFE_TENANT if event in TITLE else Role.PARTY
    return _SIDES[event][(side - 1) ^ swapped]


APART = "§"
"""Separates the recorder's key from the type and day that tell two documents with the same key apart."""


def key_apart(key: str, code: str, recorded_on: date | None) -> str:
    """The key of a document whose recorder's key is shared with another document.

    >>> key_apart("900", "MT", date(2026, 11, 20))
    '900§MT 2026-11-20'
    """
    return f"{key}{APART}{code} {recorded_on or ''}".rstrip()


def recorders_key(key: str) -> str:
    """A document's key as the recorder knows it, without what `key_apart` added.

    >>> recorders_key("900§MT 2026-11-20")
    '900'
    """
    return key.partition(APART)[0]


def recorder_page(recorder_url: str, *, key: str, number: str) -> str:
    """The address of the recorder's page of a document; empty where the recorder has no such page.

    >>> recorder_page("https://recorder.example/{key}", key="2026 7/1", number="")
    'https://recorder.example/2026%207%2F1'
    >>> recorder_page("https://recorder.example/{number}", key="7", number="")
    ''
    """
    if "{number}" in recorder_url and not number:
        return ""
    key = recorders_key(key)
    return recorder_url.replace("{key}", quote(key, safe="")).replace("{number}", quote(number, safe=""))


TITLE = frozenset({Event.OWNERSHIP_CHANGE, Event.PARTIAL_TRANSFER, Event.TAX_DEED})
"""Events after which another person is, or may be, the owner of record."""
ROLL = frozenset({Event.MAILING_ADDRESS_CHANGED, Event.OWNER_CHANGED_ON_ROLL})
"""Events known from the owner roll, not from the recorder. Their one party is the owner or address now on the roll."""
CHARGES = frozenset({Event.MORTGAGE, Event.LIEN, Event.LIS_PENDENS})
"""Events that stay open until a release."""


@dataclass(frozen=True, kw_only=True)
class Party:
    """A name as the recorder indexed it. Left out of `repr`, so that it reaches no log."""

    role: Role
    name: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One document. `key` is the recorder's own id; `refers_to` are keys or numbers of earlier documents that it names;
    `number` is the one that people quote to the recorder. `amount` is None where the source gives none."""

    key: str
    event: Event
    form: Form = Form.PLAIN
    code: str
    recorded_on: date | None
    executed_on: date | None = None
    amount: Decimal | None = None
    percent: Decimal | None = None
    number: str = ""
    parties: tuple[Party, ...] = ()
    refers_to: tuple[str, ...] = ()

    def names(self, *roles: Role) -> tuple[str, ...]:
        """The names in these roles, in the recorder's order."""
        return tuple(party.name for party in self.parties if party.role in roles)

    @property
    def givers(self) -> tuple[str, ...]:
        """The names of those who give title or owe the debt."""
        return self.names(Role.GRANTOR, Role.BORROWER, Role.DEBTOR, Role.PRINCIPAL, Role.OLD_LENDER)

    @property
    def takers(self) -> tuple[str, ...]:
        """The names of those who take title, lend or claim."""
        return self.names(Role.GRANTEE, Role.LENDER, Role.CLAIMANT, Role.ATTORNEY, Role.NEW_LENDER)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The effect of a document type. `swapped`: party 1 is the receiving side (grantee, lender, claimant), not
    party 2."""

    event: Event
    form: Form = Form.PLAIN
    swapped: bool = False


CodeTable = Mapping[str, Kind]
"""Effects by the code as the county writes it: upper case, single blanks."""

_WORDS: tuple[tuple[str, Event, Form], ...] = (
    # the first that fits counts; whole words only: DEEDN, MTRDEED and CEMD hold 'deed' and are none
    (r"OFFICE USE|MAPS?|ROAD DOCKET|CEMETERY", Event.OTHER, Form.PLAIN),
    (r"(REVOCATION|REVOKE\w*) .*(TRANSFER ON DEATH|TOD|BENEFICIARY)", Event.TOD_REVOKED, Form.PLAIN),
    (r"(REVOCATION|REVOKE\w*) .*(POWER|ATTORNEY)", Event.POWER_REVOKED, Form.PLAIN),
    (r"PARTIAL (RELEASE|SATISFACTION|RECONVEYANCE|DISCHARGE|WITHDRAWL|WITHDRAWAL)", Event.PARTIAL_RELEASE, Form.PLAIN),
    (r"(SATISFACTION|RELEASE|DISCHARGE|RECONVEYANCE|TERMINATION|WITHDRAWAL|CANCEL\w*|DISMISSAL) (OF )?(OF |DEED OF "
     r"TRUST|THE )?.*(LEASE|CONTRACT|TRUST AGREEMENT|DECLARATION|EASEMENT)", Event.OTHER, Form.PLAIN),
    (r"SATISFACTION|RECONVEYANCE|DISCHARGE|WITHDRAWAL OF|CANCEL\w* OF|CANCELLATION|DISMISSAL|RELEASE", Event.RELEASE,
     Form.PLAIN),
    (r"TERM(INATION)?( OF)? .*(LIEN|MORTGAGE)|UCC3 TERMINATION", Event.RELEASE, Form.PLAIN),
    (r"(ASSIGNMENT|ASSIGN|ASGN).* (LEASE|RENTS|CONTRACT)", Event.OTHER, Form.PLAIN),
    (r"ASSIGNMENT.*(MORTGAGE|DEED OF TRUST|LIEN)|MORTGAGE ASSIGNMENT|^ASSIGNMENT$", Event.ASSIGNMENT, Form.PLAIN),
    (r"LIS PENDENS|NOTICE OF PENDENCY", Event.LIS_PENDENS, Form.PLAIN),
    (r"(MODIFICATION|CONSOLIDATION|SPREADER|ASSUMPTION|EXTENSION|SUBORDINATION)\b(?!.*DEED)", Event.MORTGAGE_CHANGE,
     Form.PLAIN),
    (r"DEED AMENDMENT|AMENDMENT (OF|TO) DEED", Event.CORRECTION, Form.PLAIN),
    (r"UCC ?1|UNIFORM COMMERCIAL CODE 1", Event.LIEN, Form.PLAIN),
    (r"UCC\w*|UNIFORM COMMERCIAL CODE|RPTT|RETT|DEVELOPMENT RIGHTS|LANDMARK|(PURCHASER|SELLER)\W?S ASSIGNMENT",
     Event.OTHER, Form.PLAIN),
    (r"DEED OF TRUST|SECURITY (DEED|INSTRUMENT)|MORTGAGE", Event.MORTGAGE, Form.PLAIN),
    (r"POWER OF ATTORNEY", Event.POWER_OF_ATTORNEY, Form.PLAIN),
    (r"TRANSFER ON DEATH|TOD DEED|BENEFICIARY DEED|LADY BIRD", Event.TRANSFER_ON_DEATH, Form.PLAIN),
    (r"(CORRECT\w*|CONFIRMATORY|RE-?RECORD\w*|REFILING).*", Event.CORRECTION, Form.PLAIN),
    (r"NAME CHANGE|CHANGE OF NAME", Event.NAME_CHANGE, Form.PLAIN),
    (r"(SHERIFF\W?S?|TREASURER\W?S?|TAX|MARSHAL\W?S?|IN REM|REFEREE\W?S?|FORECLOSURE) .*(DEED|SALE)|"
     r"CERTIFICATE OF TITLE", Event.TAX_DEED, Form.PLAIN),
    (r"QUIT ?-?CLAIM", Event.OWNERSHIP_CHANGE, Form.QUITCLAIM),
    (r"(EXECUTOR|ADMINISTRATOR|GUARDIAN|CONSERVATOR|FIDUCIARY|PERSONAL REP).*", Event.OWNERSHIP_CHANGE, Form.FIDUCIARY),
    (r"TRUSTEE.*", Event.OWNERSHIP_CHANGE, Form.TRUSTEE),
    (r"CONTRACT|MEMORANDUM OF SALE", Event.CONTRACT, Form.PLAIN),
    (r"(LIEN|JUDGMENT|JUDGEMENT|LEVY|CLAIM OF)", Event.LIEN, Form.PLAIN),
    (r"NO(T|N).* DEED|DEED (NO|RESTRICTION|RECORD|MEMO)", Event.OTHER, Form.PLAIN),
    (r"(DEED|WARRANTY|BARGAIN AND SALE|CONVEYANCE)", Event.OWNERSHIP_CHANGE,
     Form.PLAIN),
    (r"LEASE|EASEMENT|DECLARATION|ZONING|RIGHT OF WAY|AFFIDAVIT|RESOLUTION|AGREEMENT|CERTIFICATE|CONSENT|PERMIT|"
     r"COURT ORDER|ORDER|TRANSFER TAX|RESTRICTION|MISCELLANEOUS|LICENSE|BOND|WILL", Event.OTHER, Form.PLAIN),
)  # fmt: skip
_RULES = tuple(
    (re.compile(rf"(?:^|\b)(?:{words})(?:\b|$)"), Kind(event=event, form=form)) for words, event, form in _WORDS
)


def tidy(code: str) -> str:
    """A code in the spelling of code tables: upper case, single blanks.

    >>> tidy(" deed,  ts ")
    'DEED, TS'
    """
    return " ".join(code.upper().split())


def kind_of(code: str, table: CodeTable, label: str = "") -> Kind:
    """The effect of a document of this type: by the county's table, else by the words of its label or of the code
    itself.

    A code that only resembles a word is unknown, not guessed.

    >>> kind_of("QCD", {}, "Quit Claim Deed").form, kind_of("DEEDN", {}).event, kind_of("MTRDEED", {}).event
    (<Form.QUITCLAIM: 'quitclaim'>, <Event.UNKNOWN: 'unknown'>, <Event.UNKNOWN: 'unknown'>)
    >>> kind_of("SHERIFF'S DEED", {}).event, kind_of("SATISFACTION OF MORTGAGE", {}).event
    (<Event.TAX_DEED: 'tax_deed'>, <Event.RELEASE: 'release'>)
    """
    known = table.get(tidy(code))
    if known is not None:
        return known
    for text in (tidy(label), tidy(code)):
        for pattern, kind in _RULES if text else ():
            if pattern.search(text):
                return kind
    return Kind(event=Event.UNKNOWN)
