"""Text messages, through Twilio."""

from kordant_jobs.adapters.sms.twilio import TwilioAccount, TwilioTransport, signature_of

__all__ = ["TwilioAccount", "TwilioTransport", "signature_of"]
