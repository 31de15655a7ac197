"""Opens the outside sources that the settings configure; for each other source it names the settings that it lacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.adapters.sources.leakcheck import LeakCheck
from kordant_jobs.adapters.sources.xposedornot import XposedOrNot
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.ports import ExposureSource
from kordant_jobs.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The sources that may be asked, and the reasons why the others may not."""

    on: Mapping[Source, ExposureSource] = field(default_factory=dict)
    off: Mapping[Source, str] = field(default_factory=dict)


def open_sources(settings: Settings) -> Sources:
    """The outside sources of the settings. Nothing is requested yet."""
    on: dict[Source, ExposureSource] = {}
    off: dict[Source, str] = {}
    if settings.hibp_api_key is not None:
        on[Source.HIBP] = Hibp(settings.hibp_api_key, base_url=settings.hibp_url)
    else:
        off[Source.HIBP] = "no key: set KORDANT_HIBP_API_KEY"
    if settings.xposedornot:
        on[Source.XPOSEDORNOT] = XposedOrNot(settings.xposedornot_url)
    else:
        off[Source.XPOSEDORNOT] = "it would be sent addresses as they are: set KORDANT_XPOSEDORNOT=1 if you want that"
    if settings.leakcheck_api_key is not None or settings.leakcheck_public:
        on[Source.LEAKCHECK] = LeakCheck(settings.leakcheck_api_key, base_url=settings.leakcheck_url)
    else:
        off[Source.LEAKCHECK] = "no key: set KORDANT_LEAKCHECK_API_KEY, or KORDANT_LEAKCHECK_PUBLIC=1"
    return Sources(on=on, off=off)
