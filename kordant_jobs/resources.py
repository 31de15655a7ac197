"""The resources of the Dagster project: one adapter for each port, made from the settings when a run first needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from kordant_jobs.adapters.banks.registry import Banks, open_banks
from kordant_jobs.adapters.breach_catalogue import open_catalogue
from kordant_jobs.adapters.corpus import Corpus, open_corpus
from kordant_jobs.adapters.counties import Counties, open_counties
from kordant_jobs.adapters.drop_folder import open_dump_place
from kordant_jobs.adapters.dumps import DumpLimits
from kordant_jobs.adapters.messengers import Messengers, open_mail, open_messengers
from kordant_jobs.adapters.report_storage import open_report_storage
from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.adapters.sources.registry import Sources, open_sources
from kordant_jobs.adapters.voice.models.files import LoadedModels, load_models
from kordant_jobs.app import SYSTEM
from kordant_jobs.engine.plugins import database_resource
from kordant_jobs.jobs.darkwatch_scan.drops import DropBox
from kordant_jobs.jobs.removebrokers_process.opening import open_outside
from kordant_jobs.jobs.removebrokers_process.outside import Outside
from kordant_jobs.ports import BreachCatalogue, BreachFeed, MailTransport, ReportStorage
from kordant_jobs.postgres import database
from kordant_jobs.settings import Settings, load_settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.server import open_keyring

db = database_resource(SYSTEM)


@dg.resource(
    description="Opens the encrypted columns (KORDANT_MASTER_KEY), after proving the key.",
    required_resource_keys={"db"},
)
def keyring(context: dg.InitResourceContext) -> Keyring:
    """The keyring, verified against the database so that a wrong key never writes anything.

    Raises:
        KeyringError: the key is missing, or is another one.
    """
    ring = open_keyring(load_settings())
    with database.saying_what_failed(), context.resources.db.begin() as connection:
        ring.check(connection)
    return ring


@dg.resource(description="The drop place of breach dumps, and how they are read.")
def drop_box(_: dg.InitResourceContext) -> DropBox:
    """The drop place of the settings."""
    loaded = load_settings()
    return DropBox(
        place=open_dump_place(loaded),
        keep_files=loaded.drop_keep,
        limits=DumpLimits(max_bytes=loaded.dump_max_bytes, max_ratio=loaded.dump_max_ratio),
        phone_region=loaded.phone_region,
    )


@dg.resource(description="Ingested dumps, keyed by blind index.")
def corpus(_: dg.InitResourceContext) -> Corpus:
    """The corpus of the settings."""
    return open_corpus(load_settings())


@dg.resource(description="The list of known breaches (KORDANT_BREACH_CATALOGUE).")
def catalogue(_: dg.InitResourceContext) -> BreachCatalogue | None:
    """The catalogue of the settings, None when there is none."""
    return open_catalogue(load_settings().breach_catalogue)


@dg.resource(description="Outside sources that are asked about identifiers (KORDANT_HIBP_API_KEY and others).")
def sources(_: dg.InitResourceContext) -> Sources:
    """The outside sources of the settings."""
    return open_sources(load_settings())


@dg.resource(description="Says which breach is the newest (KORDANT_HIBP_URL); needs no key.")
def breach_feed(_: dg.InitResourceContext) -> BreachFeed:
    """Have I Been Pwned, used for its feed of breaches only."""
    return Hibp(None, base_url=load_settings().hibp_url)


@dg.resource(description="County records: the counties that are shipped, and those of KORDANT_COUNTIES_DIR.")
def counties(_: dg.InitResourceContext) -> Counties:
    """The counties of the settings."""
    return open_counties(load_settings())


@dg.resource(description="Takes mails over: the SMTP server of KORDANT_SMTP_URL, else a maildir.")
def mail(_: dg.InitResourceContext) -> MailTransport:
    """The mail transport of the settings."""
    return open_mail(load_settings())


@dg.resource(description="Take push and text messages over, where there are keys: FCM, APNs, Web Push, Twilio.")
def messengers(_: dg.InitResourceContext) -> Messengers:
    """The push and text transports of the settings."""
    return open_messengers(load_settings())


@dg.resource(description="Where PDF reports are kept, by their content.")
def report_storage(_: dg.InitResourceContext) -> ReportStorage:
    """The report storage of the settings: a local folder, or the store at KORDANT_REPORTS_URL."""
    return open_report_storage(load_settings())


@dg.resource(
    description="Data brokers: by mail, on their sites, and by the Data Rights Protocol.",
    required_resource_keys={"keyring"},
)
def brokers(context: dg.InitResourceContext) -> Outside:
    """The channels to data brokers, by the settings."""
    return open_outside(load_settings(), context.resources.keyring)


@dg.resource(description="Models of voices, where `models pull` made them.")
def voice_models(_: dg.InitResourceContext) -> LoadedModels:
    """The models of the settings."""
    loaded = load_settings()
    return load_models(loaded.models, loaded.voice_detector)


@dg.resource(description="Providers of bank data: Pluggy (KORDANT_PLUGGY_*), banks' own servers (KORDANT_OFB_BANKS).")
def banks(_: dg.InitResourceContext) -> Banks:
    """The providers of bank data of the settings."""
    return open_banks(load_settings())


@dg.resource(description="The settings (KORDANT_*), frozen.")
def settings(_: dg.InitResourceContext) -> Settings:
    """The settings of this process."""
    return load_settings()


RESOURCES: Mapping[str, Any] = {
    "db": db,
    "keyring": keyring,
    "drop_box": drop_box,
    "corpus": corpus,
    "catalogue": catalogue,
    "sources": sources,
    "breach_feed": breach_feed,
    "counties": counties,
    "mail": mail,
    "messengers": messengers,
    "report_storage": report_storage,
    "brokers": brokers,
    "voice_models": voice_models,
    "banks": banks,
    "settings": settings,
}
