"""Push messages: Firebase (FCM HTTP v1), Apple (APNs) and browsers (Web Push)."""

from kordant_jobs.adapters.push.apns import ApnsKey, ApnsTransport
from kordant_jobs.adapters.push.fcm import FcmTransport
from kordant_jobs.adapters.push.web_push import WebPushTransport

__all__ = ["ApnsKey", "ApnsTransport", "FcmTransport", "WebPushTransport"]
