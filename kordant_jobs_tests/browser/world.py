"""Fills a state folder with a small invented world: python -m kordant_jobs_tests.browser.world STATE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from kordant_jobs.cli.session import open_session
from kordant_jobs.lab.demo import load
from kordant_jobs.lab.world.catalogue import make_catalogue
from kordant_jobs.lab.world.dump_files import write_dumps
from kordant_jobs.lab.world.population import make_population

SEED, PEOPLE = 3, 60


def main(state: Path) -> None:
    """Sixty subscribers, ten dumps, registered as of the last three days."""
    (state / "catalogue.json").write_text(json.dumps(make_catalogue(SEED)))
    with open_session() as session:
        population = make_population(SEED, PEOPLE)
        load(session, population, write_dumps(population, session.settings.drop, seed=SEED, lines=4_000))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
