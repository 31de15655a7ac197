"""The effect of a county's document type: by its code table first, then by the words of its label. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kordant_jobs.domain.property.instruments import Event, Form


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
