"""The counties of an installation: the shipped ones and those of its own folder, each with its reader."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kordant_jobs.adapters.counties.asking import Server
from kordant_jobs.adapters.counties.description import County, Driver, read_file, shipped
from kordant_jobs.adapters.counties.drivers import Arcgis, Carto, Socrata, TableReader
from kordant_jobs.adapters.counties.files_driver import Files
from kordant_jobs.adapters.counties.reading import CountyReader
from kordant_jobs.adapters.sources.http import HttpLimits
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.settings import Settings

_BRIEF = HttpLimits(read_s=5.0, total_s=10.0, max_bytes=4 << 20, at_once=1)
"""Limits for a sensor, which has a minute for its whole tick."""
_READERS: Mapping[Driver, Callable[[County, Server], TableReader]] = {
    Driver.SOCRATA: Socrata,
    Driver.SODA3: Socrata,
    Driver.ARCGIS: Arcgis,
    Driver.CARTO: Carto,
}


@dataclass(frozen=True)
class Counties:
    """Every described county, by id. `problems` has an error for each file of the folder that describes none."""

    by_id: Mapping[str, County]
    drop: Path
    token: str | None = field(default=None, repr=False)
    problems: tuple[str, ...] = ()
    server: Server | None = None

    def get(self, county: str) -> County:
        """The description of a county.

        Raises:
            SettingsError: there is none.
        """
        if county not in self.by_id:
            raise SettingsError(f"there is no county {county!r}: {', '.join(self.by_id)}, or add its file.")
        return self.by_id[county]

    def dropped(self) -> str:
        """A hash of the files in the counties' drop folders; it changes when they do. Empty: there are no files."""
        found = [path for county in self.by_id for path in (self.drop / county).glob("*") if path.is_file()]
        facts = sorted(f"{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in found)
        return hashlib.sha256("\n".join(facts).encode()).hexdigest() if facts else ""

    def is_remote(self, county: str) -> bool:
        """True when the county is read from a server, not from dropped files."""
        return county in self.by_id and self.by_id[county].driver is not Driver.FILES

    def freshness(self, county: str) -> str | None:
        """The state that a remote county reports, from one short request. None where the county comes as files, is not
        described, or does not answer."""
        if not self.is_remote(county):
            return None
        reader = self.reader(self.by_id[county])
        reader.tables.server = replace(reader.tables.server, limits=_BRIEF, retry_waits_s=())
        try:
            return reader.freshness()
        except (SourceUnavailable, LookupError, TypeError, ValueError):  # an answer of another shape is none
            return None

    def reader(self, county: County) -> CountyReader:
        """The reader of a county."""
        if county.driver is Driver.FILES:
            return CountyReader(county, Files(county, self.drop / county.id))
        headers = {"x-app-token": self.token} if self.token and county.driver in {Driver.SOCRATA, Driver.SODA3} else {}
        server = replace(self.server, requests=0) if self.server else Server(headers=headers)
        return CountyReader(county, _READERS[county.driver](county, server))


def open_counties(settings: Settings) -> Counties:
    """The counties of the settings. A file that describes no county is listed as a problem, and does not stop the
    others."""
    found, problems = dict(shipped()), []
    folder = settings.counties
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
        try:
            county = read_file(path)
            found[county.id] = county
        except SettingsError as error:
            problems.append(str(error))
        except Exception as error:  # noqa: BLE001 - one file, whatever is in it, stops no other county
            problems.append(f"{path} describes no county ({type(error).__name__}).")
    token = settings.socrata_token.get_secret_value() if settings.socrata_token else None
    return Counties(found, settings.county_drop, token, tuple(problems))
