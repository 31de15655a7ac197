"""The reactions to Twilio's error codes: in the answer to a request, and later in a status callback.

Sources: twilio.com/docs/api/errors, and the Message resource. The changelog of July 2024 splits some codes and
announces further changes, so the reaction to an unknown code depends on its HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping

from kordant_jobs.adapters.http_delivery import Act, ErrorTable

TWILIO = ErrorTable(
    service="twilio",
    codes={
        "20003": Act.DOWN,  # authentication
        "20429": Act.RETRY,  # too many requests
        "21211": Act.GONE,  # no valid number
        "21408": Act.OPERATOR,  # the region is not enabled for our account
        "21606": Act.OPERATOR,  # our number sends no texts
        "21608": Act.OPERATOR,  # a trial account, and a number that was not verified
        "21217": Act.GONE,  # no valid number
        "21421": Act.GONE,  # no valid number
        "21610": Act.GONE,  # the recipient answered STOP
        "21612": Act.OPERATOR,  # no route from our number to this one
        "21614": Act.GONE,  # no mobile number
    },
)

LATER: Mapping[str, Act] = {
    "30001": Act.RETRY,  # queue overflow
    "30002": Act.OPERATOR,  # our account is suspended
    "30003": Act.RETRY,  # switched off or out of reach
    "30004": Act.OPERATOR,  # blocked by the recipient or the network
    "30005": Act.GONE,  # unknown handset
    "30006": Act.GONE,  # a landline, or a network that is not reached
    "30007": Act.OPERATOR,  # filtered as spam
    "30008": Act.RETRY,  # unknown: again
}
"""The reactions to codes of a message that was accepted and did not arrive. Any other code is for an operator."""
