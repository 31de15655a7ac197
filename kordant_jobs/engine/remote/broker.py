"""The Celery application: one task, and a queue for each version of the code. No results are stored."""

from typing import Any

from kordant_jobs.errors import SettingsError

RUN_TASK = "kordant.run"
ANSWER_S = 5.0
"""Seconds that Redis may take to answer. After that it counts as unavailable: only new runs depend on it."""
VISIBLE_AGAIN_S = 3600
"""Seconds after which Redis redelivers a message that a worker received and did not acknowledge. Our workers
acknowledge at once, and a run that is delivered twice is taken once."""


def queue_of(code_version: str) -> str:
    """The queue in which runs of a version of the code wait for its hosts."""
    return f"kordant.{code_version}"


def celery_app(url: str | None) -> Any:
    """An application for this broker; opens no connection.

    Raises:
        SettingsError: no broker is set, or Celery is not installed.
    """
    if url is None:
        raise SettingsError("KORDANT_BROKER_URL is unset: KORDANT_LAUNCHER=celery needs one, as redis://host:6379/0.")
    try:
        from celery import Celery
    except ImportError:
        raise SettingsError(
            "Celery is not installed: install the extra `celery` (pip install -r requirements-hosts.lock), or set "
            "KORDANT_LAUNCHER=warm."
        ) from None
    app = Celery("kordant", broker=url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        task_default_delivery_mode="transient",
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # else a run waits behind one that is running while another host is idle
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,  # orders come by Postgres
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBLE_AGAIN_S,
            "socket_timeout": ANSWER_S,
            "socket_connect_timeout": ANSWER_S,
            "socket_keepalive": True,
            "health_check_interval": 5,
            **{"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},  # of a sender
        },
    )
    return app


def send(app: Any, queue: str, run_id: str, limits: dict[str, float]) -> None:
    """Send a run to a queue, in one attempt: a caller that waited for a broker would delay all other runs.

    Raises:
        kombu.exceptions.OperationalError: the broker is away.
    """
    app.send_task(RUN_TASK, args=[run_id, limits], queue=queue, retry=False)


def waiting(app: Any, queue: str) -> int:
    """The number of runs that wait in a queue.

    Raises:
        Exception: the broker is away; of which kind depends on the transport.
    """
    with app.connection_for_write() as connection:
        return int(connection.default_channel._size(queue))
