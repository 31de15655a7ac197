"""The system that the engine runs: the catalogue's jobs, our definitions, our settings.

As a program it runs one of the engine's processes, as `up` does: `python -m kordant_jobs.app daemon | warm |
code-server …`. It is light to import: the processes import Dagster.
"""

import sys
import time
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from kordant_jobs.catalog import BY_NAME, PARTIES
from kordant_jobs.engine.system import EngineSettings, Prunable, System
from kordant_jobs.settings import load_settings
from kordant_jobs.store.notifications import choices
from kordant_jobs.store.schedules import progress


def engine_settings() -> EngineSettings:
    """The engine's part of our settings.

    Raises:
        SettingsError: a value is not of its kind.
    """
    found = load_settings()
    alike = {one.name for one in fields(EngineSettings)} & set(type(found).model_fields)
    return EngineSettings(
        state_dir=found.state_dir,
        database_url=None if found.database_url is None else found.database_url.get_secret_value(),
        broker_url=None if found.broker_url is None else found.broker_url.get_secret_value(),
        k8s_launcher=found.k8s_launcher or {},
        watched_folders=found.watched_drops,
        **{name: getattr(found, name) for name in alike - {"database_url", "broker_url", "k8s_launcher"}},
    )


def _kept_days() -> float:
    return load_settings().keep_suppressions_days


def _old_files() -> list[Path]:
    """Mails in the maildir and logs of ended processes that are older than their term."""
    found, now = load_settings(), time.time()
    kinds = ((found.mails, "*/*", found.keep_mails_days), (found.state_dir / "logs", "*.log.*", found.keep_logs_days))
    old = []
    for folder, pattern, days in kinds:
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                if path.is_file() and now - path.stat().st_mtime > days * 86_400:
                    old.append(path)
    return old


def _delete_files(connection: Connection, before: datetime, limit: int) -> int:
    chosen = _old_files()[:limit]
    for path in chosen:
        path.unlink(missing_ok=True)
    return len(chosen)


SYSTEM = System(
    app="kordant_jobs.app",
    instance="kordant_jobs.instance",
    definitions="kordant_jobs.definitions",
    rows=BY_NAME,
    parties=PARTIES,
    settings=engine_settings,
    prunable=(
        Prunable(
            name="schedule_starts",
            count=lambda connection, before: progress.count_old(connection, decided_before=before),
            delete=lambda connection, before, limit: progress.prune(connection, decided_before=before, limit=limit),
        ),
        Prunable(
            name="suppressions",
            count=lambda connection, _: choices.count_old_suppressions(connection, days=_kept_days()),
            delete=lambda connection, _, most: choices.prune_suppressions(connection, days=_kept_days(), limit=most),
        ),
        Prunable(name="old_mails_and_logs", count=lambda *_: len(_old_files()), delete=_delete_files),
    ),
)


if __name__ == "__main__":
    from kordant_jobs.app import SYSTEM as OURS  # the module by its name: one value for everybody in this process
    from kordant_jobs.engine.processes import main

    sys.exit(main(OURS))
