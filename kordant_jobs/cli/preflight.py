"""Checks all settings before `up` starts, as far as possible without a connection."""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from kordant_jobs.adapters import messengers
from kordant_jobs.adapters.banks.registry import open_banks
from kordant_jobs.adapters.breach_catalogue import open_catalogue
from kordant_jobs.adapters.corpus import open_corpus
from kordant_jobs.adapters.counties import open_counties
from kordant_jobs.adapters.drop_folder import open_clip_place, open_dump_place
from kordant_jobs.adapters.report_storage import open_report_storage
from kordant_jobs.adapters.sources.registry import open_sources
from kordant_jobs.adapters.voice.models.files import load_models
from kordant_jobs.errors import KordantError, SettingsError
from kordant_jobs.jobs.removebrokers_process.opening import open_inbox, open_key
from kordant_jobs.observability.alerting import open_operators
from kordant_jobs.settings import Settings


def _heartbeat(settings: Settings) -> None:
    found = urlsplit(settings.heartbeat_url.get_secret_value()) if settings.heartbeat_url else None
    if found is not None and (found.scheme not in {"http", "https"} or not found.hostname):
        raise SettingsError("KORDANT_HEARTBEAT_URL should be http://… or https://….")


_FILES = ("voice_detector", "counties_dir", "breach_catalogue")
"""Settings with a file or folder that must exist; the openers check those with keys."""
_TOGETHER = (
    ("pluggy_client_id", "pluggy_client_secret"),
    ("belvo_secret_id", "belvo_secret_password"),
    ("drp_agent_id", "drp_key_path"),
)


def _variable(name: str) -> str:
    return f"KORDANT_{name.upper()}"


def _there(settings: Settings) -> None:
    for name in _FILES:
        value = getattr(settings, name)
        if value and "://" not in str(value) and not Path(value).exists():
            raise SettingsError(f"{_variable(name)} names {value}, which is not there. Correct the path.")


def _whole(settings: Settings) -> None:
    for pair in _TOGETHER:
        given = [name for name in pair if getattr(settings, name)]
        if len(given) == 1:
            (missing,) = set(pair) - set(given)
            raise SettingsError(f"{_variable(given[0])} works with {_variable(missing)} only, which is not set.")


_ON_SEVERAL_HOSTS = ("database_url", "smtp_url", "corpus_url", "reports_url")


def _several_hosts(settings: Settings) -> None:
    """Check that with runs on several machines no file that they write or need is on the disk of one machine."""
    if settings.launcher not in {"celery", "k8s"}:
        return
    needed = (*_ON_SEVERAL_HOSTS, *(("broker_url",) if settings.launcher == "celery" else ("k8s_launcher",)))
    if missing := [_variable(name) for name in needed if not getattr(settings, name)]:
        raise SettingsError(
            f"KORDANT_LAUNCHER={settings.launcher} has runs on several machines, so it needs {', '.join(missing)}: "
            "the embedded database, the maildir and the folders of corpus and reports lie on one machine's disk."
        )


OPENERS: Mapping[str, Callable[[Settings], object]] = {
    "messengers": messengers.check,
    "operators": open_operators,
    "heartbeat": _heartbeat,
    "files": _there,
    "pairs": _whole,
    "hosts": _several_hosts,
    "report storage": open_report_storage,
    "corpus": open_corpus,
    "dumps": open_dump_place,
    "clips": open_clip_place,
    "catalogue": lambda settings: open_catalogue(settings.breach_catalogue),
    "sources": open_sources,
    "counties": open_counties,
    "brokers' replies": open_inbox,
    "Data Rights Protocol": open_key,
    "voices": lambda settings: load_models(settings.models, settings.voice_detector),
    "banks": open_banks,
}
"""The functions that open each part without connecting to anything."""


def check(settings: Settings) -> None:
    """Check that every setting can work.

    Raises:
        SettingsError: one cannot, or several: a line each.
    """
    problems = []
    for what, opener in OPENERS.items():
        try:
            opener(settings)
        except KordantError as error:
            problems.append(str(error))
        except (OSError, ValueError) as error:
            problems.append(f"The settings of {what} cannot work ({type(error).__name__}): `kordant-jobs settings`.")
    if problems:
        raise SettingsError("\n".join(problems))
