"""Opens the providers of bank data that the settings configure; for each other provider it names the settings that it
lacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kordant_jobs.adapters.banks.belvo import Belvo
from kordant_jobs.adapters.banks.ofb import OpenFinance, read_banks
from kordant_jobs.adapters.banks.pluggy import Pluggy
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.ports import Bank
from kordant_jobs.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Banks:
    """The providers that can be read, and the reasons why the others cannot."""

    on: Mapping[Provider, Bank] = field(default_factory=dict)
    off: Mapping[Provider, str] = field(default_factory=dict)


def open_banks(settings: Settings) -> Banks:
    """The providers of the settings. Nothing is requested yet.

    Raises:
        SettingsError: the file of banks is not valid.
    """
    on: dict[Provider, Bank] = {}
    off: dict[Provider, str] = {}
    if settings.pluggy_client_id and settings.pluggy_client_secret is not None:
        on[Provider.PLUGGY] = Pluggy(
            settings.pluggy_client_id, settings.pluggy_client_secret, base_url=settings.pluggy_url
        )
    else:
        off[Provider.PLUGGY] = "no client: set KORDANT_PLUGGY_CLIENT_ID and KORDANT_PLUGGY_CLIENT_SECRET"
    if banks := read_banks(settings.ofb_banks):
        on[Provider.OFB] = OpenFinance(banks)
    else:
        off[Provider.OFB] = "no bank is described: set KORDANT_OFB_BANKS"
    if settings.belvo_secret_id and settings.belvo_secret_password is not None:
        on[Provider.BELVO] = Belvo(
            settings.belvo_secret_id, settings.belvo_secret_password, base_url=settings.belvo_url
        )
    else:
        off[Provider.BELVO] = "no secret: set KORDANT_BELVO_SECRET_ID and KORDANT_BELVO_SECRET_PASSWORD"
    return Banks(on=on, off=off)
