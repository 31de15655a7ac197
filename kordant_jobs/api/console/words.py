"""States, causes and other fixed words of the system, in the reader's language."""

from kordant_jobs.wording import Wording


def word(words: Wording, value: object) -> str:
    """A word of the system in the reader's language; a word without a translation is returned unchanged."""
    known = {
        "pending": words.say("waiting"),
        "running": words.say("running"),
        "completed": words.say("completed"),
        "partial": words.say("completed in part"),
        "dead": words.say("dead"),
        "cancelled": words.say("cancelled"),
        "expired": words.say("given up"),
        "success": words.say("success"),
        "failure": words.say("failure"),
        "canceled": words.say("cancelled"),
        "lost": words.say("lost"),
        "returned": words.say("given back"),
        "exception": words.say("exception"),
        "timeout": words.say("time-out"),
        "memory": words.say("out of memory"),
        "cpu": words.say("CPU limit"),
        "killed": words.say("killed"),
        "invalid": words.say("invalid payload"),
        "critical": words.say("critical"),
        "high": words.say("high"),
        "normal": words.say("normal"),
        "low": words.say("low"),
        "paused": words.say("paused"),
        "alert": words.say("alert"),
        "ready": words.say("ready"),
        "firing": words.say("firing"),
        "resolved": words.say("resolved"),
        "page": words.say("page"),
        "ticket": words.say("ticket"),
        "proposed": words.say("proposed"),
        "applied": words.say("applied"),
        "rejected": words.say("rejected"),
        "withdrawn": words.say("withdrawn"),
        "conflicted": words.say("out of date"),
        "draft": words.say("draft"),
        "approved": words.say("approved"),
        "retired": words.say("retired"),
        "ended": words.say("ended"),
        "ok": words.say("fine"),
        "warn": words.say("warning"),
        "fail": words.say("fault"),
        "skipped": words.say("skipped"),
        "active": words.say("active"),
        "clean": words.say("clean"),
        "exposed": words.say("exposed"),
        "unknown": words.say("unknown"),
        "on": words.say("on"),
        "off": words.say("off"),
        "disabled": words.say("disabled"),
        "silent": words.say("silent"),
        "alive": words.say("alive"),
    }
    return known.get(str(value), str(value))


def done_word(words: Wording, what: str) -> str:
    """The notice after a successful action; empty for an unknown one."""
    known = {
        "cancel": words.say("Cancelled, or asked to stop."),
        "retry": words.say("Queued again."),
        "acknowledge": words.say("Acknowledged."),
        "expire": words.say("Given up for good."),
        "replay": words.say("Queued again."),
        "pause": words.say("Paused."),
        "resume": words.say("Goes on."),
        "approve": words.say("Approved and applied."),
        "reject": words.say("Rejected."),
        "conflicted": words.say("Not applied: the row had changed since the proposal."),
        "silence": words.say("Silenced."),
        "examined": words.say("Examined."),
    }
    return known.get(what, "")
