"""Text messages, through Twilio."""

from __future__ import annotations

from kordant_jobs.adapters.sms.twilio import TwilioAccount, TwilioTransport, signature_of

__all__ = ["TwilioAccount", "TwilioTransport", "signature_of"]
