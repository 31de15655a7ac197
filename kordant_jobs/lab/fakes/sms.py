"""Twilio's Messages resource on loopback for tests: it keeps a ledger and answers as configured."""

import base64
from collections.abc import Callable
from urllib.parse import parse_qs

from kordant_jobs.adapters.sms.twilio import TwilioAccount
from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer


class FakeTwilio(FakeServer):
    """Takes texts of one account. `delivered` are the numbers whose texts were taken, `callbacks` where to report
    each."""

    def __init__(self, script: Callable[[str], Answer | None] = lambda _: None) -> None:
        super().__init__()
        self.script = script
        self.delivered: list[str] = []
        self.bodies: list[str] = []
        self.callbacks: list[str] = []
        self.account = TwilioAccount(sid="AC0123456789", token="s3cret", sender="+12025550100")  # noqa: S106 - a fake's

    def answer(self, asked: Asked) -> Answer:
        """The answer to a text message."""
        expected = base64.b64encode(f"{self.account.sid}:{self.account.token}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {expected}":
            return twilio_error(401, 20003)
        if asked.path != f"/2010-04-01/Accounts/{self.account.sid}/Messages.json":
            return twilio_error(404, 20404)
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if not form.get("Body") or len(form["Body"]) > 1600:
            return twilio_error(400, 21617)
        if not form.get("To", "").startswith("+"):
            return twilio_error(400, 21211)
        said = self.script(form["To"])
        if said and not said.hang_up:
            return said
        self.delivered.append(form["To"])
        self.bodies.append(form["Body"])
        self.callbacks.append(form.get("StatusCallback", ""))
        sid = f"SM{len(self.delivered):032x}"
        return said or Answer.of(201, {"sid": sid, "status": "queued", "error_code": None, "to": form["To"]})


def twilio_error(status: int, code: int, **headers: str) -> Answer:
    """An error of Twilio."""
    return Answer.of(status, {"code": code, "message": "no", "more_info": "", "status": status}, **headers)
