"""The HTTP client of adapters that do not share a batch's `Session`: each call is a span of the current trace."""

from typing import Any

import httpx

from kordant_jobs import tracing
from kordant_jobs.domain.removals.brokers import registrable


class HttpClient(httpx.Client):
    """httpx's client. A span names only the registered domain: the part before it in the address of a browser's push
    server comes from outside."""

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request and record the call."""
        if not tracing.is_on():
            return super().send(request, **options)
        host = request.url.host
        is_name = host[-1:].isalpha()  # and no IP address
        with tracing.call(request.method, (is_name and registrable(host)) or host) as answered:
            response = super().send(request, **options)
            answered(response.status_code)
            return response
