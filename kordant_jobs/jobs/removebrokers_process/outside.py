"""The outside parties that a run works with; each may be missing, and then its step is left out."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kordant_jobs.jobs.removebrokers_process.letters import Agent
from kordant_jobs.ports import BrokerWeb, InboundMail, MailTransport, RescanSource, RightsAgent


@dataclass(frozen=True, kw_only=True)
class Outside:
    """The ways to brokers and their answers. `sign` is the DKIM signature of our mails."""

    agent: Agent
    mail: MailTransport
    inbox: InboundMail | None = None
    web: BrokerWeb | None = None
    rescan: RescanSource | None = None
    rights: RightsAgent | None = None
    sign: Callable[[bytes], bytes] | None = field(default=None, repr=False)
