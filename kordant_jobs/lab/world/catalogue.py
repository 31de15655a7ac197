"""The demo's breach catalogue, in the model of Have I Been Pwned v3.

The companies are invented; the data classes and the keys are HIBP's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class _Breach:
    """The fixed facts of a breach; the rest is drawn."""

    name: str
    title: str
    domain: str
    breached_on: str
    classes: tuple[str, ...]
    story: str
    flags: tuple[str, ...] = ("IsVerified",)


_BREACHES = (
    _Breach(
        name="CrumbleCloud",
        title="Crumble Cloud",
        domain="crumblecloud.example",
        breached_on="2023-11-04",
        classes=("Email addresses", "Passwords"),
        story='the bakery planner <a href="https://crumblecloud.example/incident" target="_blank" rel="noopener">'
        "Crumble Cloud lost its accounts</a>. Passwords were kept in plain text.",
    ),
    _Breach(
        name="PixelPantry",
        title="Pixel Pantry",
        domain="pixelpantry.example",
        breached_on="2024-02-17",
        classes=("Email addresses", "Names", "Passwords", "Phone numbers", "Purchases"),
        story="the recipe shop <em>Pixel Pantry</em> left a backup in the open."
        "<script>document.title = 'a description may hold anything'</script>",
    ),
    _Breach(
        name="GameGrotto",
        title="Game Grotto",
        domain="gamegrotto.example",
        breached_on="2024-05-30",
        classes=("Email addresses", "IP addresses", "Passwords", "Phone numbers", "Usernames"),
        story='players of <a href="javascript:alert(1)" onclick="alert(2)">Game Grotto</a> were exposed by a partner.',
    ),
    _Breach(
        name="TalkTavern",
        title="Talk Tavern",
        domain="talktavern.example",
        breached_on="2022-08-09",
        classes=("Email addresses", "Names", "Passwords", "Phone numbers", "Private messages", "Usernames"),
        story="the forum Talk Tavern was copied through an unpatched plug-in; passwords were bcrypt, some in clear.",
    ),
    _Breach(
        name="LojaLegal",
        title="Loja Legal",
        domain="lojalegal.example",
        breached_on="2024-09-12",
        classes=("Credit cards", "Email addresses", "Names", "Passwords"),
        story="the Brazilian shop Loja Legal lost <strong>card numbers</strong> &amp; passwords; São Paulo knows.",
    ),
    _Breach(
        name="ParcelPigeon",
        title="Parcel Pigeon",
        domain="parcelpigeon.example",
        breached_on="2023-03-21",
        classes=("Names", "Phone numbers", "Shipment tracking numbers"),
        story="delivery notes of Parcel Pigeon were listed page by page through its tracking form.",
    ),
    _Breach(
        name="HeartHarbor",
        title="Heart Harbor",
        domain="heartharbor.example",
        breached_on="2024-01-06",
        classes=("Email addresses", "Passwords", "Relationship statuses", "Sexual orientations", "Usernames"),
        story="members of the dating service Heart Harbor were exposed.",
        flags=("IsVerified", "IsSensitive"),
    ),
    _Breach(
        name="FableFinance",
        title="Fable Finance",
        domain="fablefinance.example",
        breached_on="2021-12-01",
        classes=("Email addresses", "Passwords"),
        story="a list was sold as Fable Finance's; the company never had these accounts.",
        flags=("IsFabricated",),
    ),
    _Breach(
        name="SpamSpire",
        title="Spam Spire",
        domain="",
        breached_on="2020-06-15",
        classes=("Email addresses",),
        story="a list of addresses used for unsolicited mail was found.",
        flags=("IsVerified", "IsSpamList"),
    ),
    _Breach(
        name="QuietQuill",
        title="Quiet Quill",
        domain="quietquill.example",
        breached_on="2016-04-02",
        classes=("Email addresses", "Usernames"),
        story="the diary service Quiet Quill was breached; its data were later destroyed by their holders.",
        flags=("IsVerified", "IsRetired"),
    ),
    _Breach(
        name="LanternLogs",
        title="Lantern Logs",
        domain="",
        breached_on="2024-07-19",
        classes=("Auth tokens", "Email addresses", "Passwords"),
        story="malware on people's own machines recorded what they typed.",
        flags=("IsVerified", "IsMalware", "IsStealerLog", "IsSubscriptionFree"),
    ),
    _Breach(
        name="HomeHarvest",
        title="Home Harvest",
        domain="homeharvest.example",
        breached_on="2019-10-28",
        classes=("Dates of birth", "Email addresses", "Government issued IDs", "Names", "Physical addresses"),
        story="tenants' papers were offered for sale; Home Harvest neither confirmed nor denied.",
        flags=(),
    ),
)

_FLAGS = (
    "IsVerified",
    "IsFabricated",
    "IsSensitive",
    "IsRetired",
    "IsSpamList",
    "IsMalware",
    "IsStealerLog",
    "IsSubscriptionFree",
)


def make_catalogue(seed: int) -> list[dict[str, Any]]:
    """Twelve breaches as `GET /api/v3/breaches` would answer; write them with `json.dumps`. Counts hang on the seed.

    Among them a sensitive, a fabricated and a retired one, a spam list, one by malware, an unverified one and some
    without a domain. One has a key that HIBP does not document, two have descriptions that must be sanitised.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 4]))
    entries = [_entry(breach, rng) for breach in _BREACHES]
    entries[0]["DemoSeverityHint"] = {"scale": "invented", "value": 3}
    return entries


def _entry(breach: _Breach, rng: np.random.Generator) -> dict[str, Any]:
    year, month, day = breach.breached_on.split("-")
    added = f"{int(year) + 1}-{month}-{int(day):02d}T{rng.integers(24):02d}:{rng.integers(60):02d}:00Z"
    return {
        "Name": breach.name,
        "Title": breach.title,
        "Domain": breach.domain,
        "BreachDate": breach.breached_on,
        "AddedDate": added,
        "ModifiedDate": added,
        "PwnCount": int(rng.integers(20_000, 90_000_000)),
        "Description": f"In {year}, {breach.story}",
        "LogoPath": f"https://logos.example/{breach.name}.png",
        "Attribution": None,
        "DisclosureUrl": f"https://{breach.domain}/incident" if breach.domain else None,
        "DataClasses": sorted(breach.classes),
        **{flag: flag in breach.flags for flag in _FLAGS},
    }
