"""The text of one alert's mail, in the subscriber's language. Its layout is in `templates/`. Pure."""

from dataclasses import dataclass

from kordant_jobs.domain.darkwatch.breaches import BreachSource
from kordant_jobs.domain.darkwatch.exposures import SecretKind, Source
from kordant_jobs.domain.identifiers import IdentifierKind, readable, shown
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.pending import AlertRow
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.jobs.notifications_send.bundle import Opened
from kordant_jobs.wording import Wording, wording
from kordant_jobs.wording.texts import one_line, severity_word

TITLE_MAX = 80
"""The most characters of a breach's title in a subject; most mail programs show about 70 of the whole line."""


@dataclass(frozen=True, kw_only=True)
class MailText:
    """The parts that every mail has, in the subscriber's language, as plain text without markup."""

    locale: str
    subject: str
    preview: str
    severity: str
    greeting: str
    headline: str
    footer: list[str]


@dataclass(frozen=True, kw_only=True)
class AlertMessage(MailText):
    """A mail about one alert, or several of one kind."""

    severity_word: str
    facts: list[tuple[str, str]]
    reasons_title: str
    reasons: list[str]
    actions_title: str
    actions: list[str]


def greeting(words: Wording, name: str) -> str:
    """The greeting, with the name where there is one."""
    return words.say("Hello %(name)s,", name=one_line(name, 120)) if name.strip() else words.say("Hello,")


def alert_footer(words: Wording) -> list[str]:
    """The last lines of a mail: why it comes, and that Kordant never asks for a password."""
    return [
        words.say("You get this mail because Kordant watches this for you."),
        words.say("We never ask for a password, and this mail has no link that you need to open."),
    ]


def subject_of(words: Wording, row: AlertRow) -> str:
    """The subject line. It has no identifier, and no name of a breach that reveals something intimate, since it is
    shown on locked screens."""
    if row.is_sensitive:
        return words.say("Security alert: your data was found in a breach")
    if row.breach_source == BreachSource.DUMP:
        return words.say("Security alert: your data was found in a collection of stolen data")
    return words.say(
        "Security alert: your data was found in the breach “%(title)s”", title=one_line(row.breach_title, TITLE_MAX)
    )


SOURCE_NAMES = {
    Source.HIBP.value: "Have I Been Pwned",
    Source.XPOSEDORNOT.value: "XposedOrNot",
    Source.LEAKCHECK.value: "LeakCheck",
}


def kind_word(words: Wording, kind: str) -> str:
    """The word for a kind of identifier."""
    return {
        IdentifierKind.EMAIL: words.say("e-mail address"),
        IdentifierKind.PHONE: words.say("phone number"),
        IdentifierKind.USERNAME: words.say("user name"),
        IdentifierKind.DOMAIN: words.say("domain"),
        IdentifierKind.NATIONAL_ID: words.say("identity number"),
        IdentifierKind.IBAN: words.say("bank account"),
        IdentifierKind.CARD: words.say("payment card"),
        IdentifierKind.PERSON: words.say("name with birth date"),
    }[IdentifierKind(kind)]


def _reasons(words: Wording, row: AlertRow, masked: str) -> list[str]:
    """The reasons why it is this subscriber's data, one sentence each. Codes unknown to this version are skipped, so
    that a new reason never blocks an alert."""
    said = []
    for reason in row.why:
        match reason.get("code"):
            case "identifier_in_dump":
                kind = kind_word(words, reason["kind"])
                if reason["verified"]:
                    text = words.say(
                        "Your %(kind)s %(masked)s stands in the stolen data.",
                        kind=kind,
                        masked=masked,
                    )
                else:
                    text = words.say(
                        "The %(kind)s %(masked)s, which you asked us to watch, stands in the stolen data.",
                        kind=kind,
                        masked=masked,
                    )
                said.append(text)
                if often := reason.get("occurrences"):  # not known before the dump was read to its end
                    said.append(words.count("It occurs there once.", "It occurs there %(number)s times.", int(often)))
                if sites := reason.get("sites"):
                    said.append(
                        words.say(
                            "A program that spies on devices took it where somebody logged in: %(sites)s. Change the "
                            "passwords there from another device.",
                            sites=", ".join(sites),
                        )
                    )
            case "identifier_at_source" if reason["source"] in SOURCE_NAMES:
                said.append(
                    words.say(
                        "%(source)s lists the %(kind)s %(masked)s in this breach.",
                        source=SOURCE_NAMES[reason["source"]],
                        kind=kind_word(words, reason["kind"]),
                        masked=masked,
                    )
                )
            case "password_in_other_breaches":
                said.append(words.say("A password of yours stands in other breaches, too."))
            case "secret_in_dump":
                said.append(
                    words.say("A password stood next to it, readable by anybody. We did not keep it.")
                    if reason["secret"] == SecretKind.CLEAR
                    else words.say("A password stood next to it in scrambled form (a hash). We did not keep it.")
                )
            case _:
                pass
    return said


WITH_PASSWORD = (SecretKind.HASHED, SecretKind.CLEAR)


def stolen_classes(row: AlertRow) -> list[str]:
    """The data classes of a breach, plus passwords when one was found beside the identifier, even if the breach's list
    lacks them."""
    has_password = any("password" in name.lower() for name in row.data_classes)
    return [*row.data_classes, *(["Passwords"] if row.secret in WITH_PASSWORD and not has_password else [])]


def _headline(words: Wording, row: AlertRow, masked: str) -> str:
    kind = kind_word(words, row.item_kind)
    if row.secret == SecretKind.CLEAR:
        return words.say(
            "Your %(kind)s %(masked)s was found in stolen data, together with a password.", kind=kind, masked=masked
        )
    return words.say("Your %(kind)s %(masked)s was found in stolen data.", kind=kind, masked=masked)


def _facts(words: Wording, row: AlertRow) -> list[tuple[str, str]]:
    facts = [(words.say("Severity"), severity_word(words, Severity(row.severity)))]
    if row.breach_source == BreachSource.DUMP:
        facts.append((words.say("Breach"), words.say("A collection of stolen data whose origin is not known")))
    else:
        facts.append((words.say("Breach"), one_line(row.breach_title, 300)))
    if row.breach_domain:
        facts.append((words.say("Site"), readable(row.breach_domain)))
    if row.breached_on:
        facts.append((words.say("Date of the breach"), words.day(row.breached_on)))
    if stolen := stolen_classes(row):
        facts.append((words.say("What was stolen"), words.join_list(words.data_classes(stolen))))
    facts.append((words.say("Found by us"), words.moment(row.alerted_at, row.time_zone)))
    return facts


def write_alert_message(row: AlertRow, opened: Opened) -> AlertMessage:
    """The text of one alert's mail. Identifiers are masked."""
    words = wording(Locale(row.locale))
    masked = shown(IdentifierKind(row.item_kind), opened.identifier)
    actions = words.actions(row.data_classes, SecretKind(row.secret))
    footer = alert_footer(words)
    if row.breach_source in {BreachSource.HIBP, BreachSource.PASTE}:
        footer.append(words.say("Facts about the breach: Have I Been Pwned, haveibeenpwned.com (CC BY 4.0)."))
    if any(reason.get("source") == Source.LEAKCHECK for reason in row.why):
        footer.append(words.say("Powered by LeakCheck."))
    return AlertMessage(
        locale=row.locale,
        subject=subject_of(words, row),
        preview=actions[0] if actions else words.say("What happened, and why it is you."),
        severity=row.severity,
        severity_word=severity_word(words, Severity(row.severity)),
        greeting=greeting(words, opened.name),
        headline=_headline(words, row, masked),
        facts=_without_doubles(_facts(words, row)),
        reasons_title=words.say("Why it is you"),
        reasons=_reasons(words, row, masked),
        actions_title=words.say("What to do now"),
        actions=actions,
        footer=footer,
    )


def _without_doubles(facts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The facts without those that repeat another one's value (a breach often has the name of its site)."""
    first = {value: label for label, value in reversed(facts)}
    return [(label, value) for label, value in facts if first[value] == label]
