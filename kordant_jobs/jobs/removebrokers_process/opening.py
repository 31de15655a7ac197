"""Opens the channels to brokers that the settings configure. Steps that need another channel are left out."""

from email.utils import parseaddr
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kordant_jobs.adapters.brokers.bounded import BoundedClient, BrokerSites
from kordant_jobs.adapters.brokers.drp import DrpAgent, read_signing_key
from kordant_jobs.adapters.brokers.mailbox import ImapInbox, MaildirInbox
from kordant_jobs.adapters.brokers.search import SearchPages
from kordant_jobs.adapters.messengers import open_mail, open_signer
from kordant_jobs.errors import SettingsError
from kordant_jobs.jobs.removebrokers_process.asking import CALLBACK
from kordant_jobs.jobs.removebrokers_process.letters import Agent
from kordant_jobs.jobs.removebrokers_process.outside import Outside
from kordant_jobs.settings import Settings
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals.links import token_of


def agent_of(settings: Settings) -> Agent:
    """Us, as brokers know us."""
    return Agent(name=parseaddr(settings.mail_from)[0] or "Kordant", address=settings.removals_address)


def open_outside(settings: Settings, keyring: Keyring) -> Outside:
    """The outside parties of the settings. Nothing is connected yet.

    Raises:
        SettingsError: a setting cannot work.
    """
    client = BoundedClient()
    return Outside(
        agent=agent_of(settings),
        mail=open_mail(settings),
        inbox=open_inbox(settings),
        web=BrokerSites(client) if settings.removals_web else None,
        rescan=SearchPages(client) if settings.removals_web else None,
        rights=_rights(settings, keyring),
        sign=open_signer(settings),
    )


def open_inbox(settings: Settings) -> ImapInbox | MaildirInbox:
    """The mailbox where brokers' replies arrive.

    Raises:
        SettingsError: the address of the mailbox is not valid.
    """
    imap = settings.removals_imap_url
    return ImapInbox(imap.get_secret_value()) if imap else MaildirInbox(settings.removals_inbox)


def open_key(settings: Settings) -> Ed25519PrivateKey | None:
    """Our key of the Data Rights Protocol; None: we have no id there.

    Raises:
        SettingsError: the file is not a key.
    """
    if not settings.drp_agent_id or settings.drp_key_path is None:
        return None
    try:
        return read_signing_key(settings.drp_key_path.read_text("ascii"))
    except (OSError, UnicodeDecodeError):
        raise SettingsError("KORDANT_DRP_KEY_PATH names no readable key file. Correct the path.") from None


def _rights(settings: Settings, keyring: Keyring) -> DrpAgent | None:
    key = open_key(settings)
    if key is None:
        return None
    base = settings.public_url.rstrip("/") if settings.public_url else None

    def callback(request_id: UUID) -> str:
        return f"{base}/callbacks/removals/{request_id}/{token_of(keyring, CALLBACK, request_id)}"

    return DrpAgent(settings.drp_agent_id, key, callback=callback if base else None)
