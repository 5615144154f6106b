"""Prometheus metrics. Roles of one machine share a folder (prometheus_client's multiprocess mode), `/metrics` adds up.

Names follow Prometheus' conventions: base units (seconds, bytes), `_total` for counters.
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

HTTP_REQUESTS = Counter("leasebox_http_requests_total", "HTTP requests", ["method", "route", "status"])
HTTP_SECONDS = Histogram("leasebox_http_request_seconds", "Time to answer an HTTP request", ["route"], buckets=_QUICK)
SIGN_INS = Counter("leasebox_sign_ins_total", "Wallet sign-ins by outcome", ["outcome"])
LEASES = Counter("leasebox_leases_total", "Changes in the life of leases", ["change"])
SMTP_MAILS = Counter("leasebox_smtp_mails_total", "Mails offered over SMTP by verdict", ["verdict"])
SMTP_COMMIT_SECONDS = Histogram("leasebox_smtp_commit_seconds", "One group commit of mails", buckets=_QUICK)
SMTP_BATCH_MAILS = Histogram("leasebox_smtp_batch_mails", "Mails in one group commit", buckets=(1, 2, 4, 8, 16, 32, 64))
SUBMISSION_SIGN_INS = Counter("leasebox_submission_sign_ins_total", "SMTP AUTH by outcome", ["outcome"])
SUBMISSIONS = Counter("leasebox_submissions_total", "Mails handed in over SMTP by outcome", ["outcome"])
RETURNS = Counter("leasebox_returns_total", "What came back to our return paths, by what it said", ["outcome"])
PARSED_MAILS = Counter("leasebox_parsed_mails_total", "Mails turned into messages by outcome", ["outcome"])
PARSE_SECONDS = Histogram("leasebox_parse_seconds", "Accepted to visible, per mail", buckets=_QUICK)
PURGED_MESSAGES = Counter("leasebox_purged_messages_total", "Messages erased after their lease's retention")
WEBHOOK_ATTEMPTS = Counter("leasebox_webhook_attempts_total", "Tries to deliver facts to webhooks", ["outcome"])
WEBHOOK_SECONDS = Histogram("leasebox_webhook_seconds", "Time a receiver takes to answer", buckets=_QUICK)
WEBHOOK_DELAY_SECONDS = Histogram("leasebox_webhook_delay_seconds", "Delivery made to its first try", buckets=_QUICK)
WEBHOOKS_DISABLED = Counter("leasebox_webhooks_disabled_total", "Webhooks disabled because they failed or said 410")
WEBHOOK_QUEUE = Gauge(
    "leasebox_webhook_queue_deliveries",
    "Deliveries that wait for their time, are due, under way or dead",
    ["state"],
    multiprocess_mode="mostrecent",
)
WEBHOOK_OLDEST_SECONDS = Gauge(
    "leasebox_webhook_oldest_due_seconds",
    "How long the endpoint waits that stands first in line",
    multiprocess_mode="mostrecent",
)
WEBHOOK_FACTS = Gauge(
    "leasebox_webhook_fan_out_facts", "Facts that no delivery was made of yet", multiprocess_mode="mostrecent"
)
WEBHOOK_OLDEST_FACT_SECONDS = Gauge(
    "leasebox_webhook_fan_out_lag_seconds", "How old the first of these facts is", multiprocess_mode="mostrecent"
)
FACTS = Counter("leasebox_facts_total", "Facts that were numbered, so that readers see them")
STREAMS = Gauge("leasebox_streams", "Open event streams by door", ["door"], multiprocess_mode="livesum")
STREAM_ENDS = Counter("leasebox_stream_ends_total", "Event streams that ended, by reason", ["door", "reason"])
STREAM_EVENTS = Counter("leasebox_stream_events_total", "Events handed to readers of streams", ["door"])
STREAM_SECONDS = Histogram("leasebox_stream_delay_seconds", "From a fact to a stream that tells it", buckets=_QUICK)
SEND_TRIES = Counter("leasebox_send_tries_total", "Tries to hand over a mail by outcome", ["outcome"])
SEND_QUEUE = Gauge(
    "leasebox_send_queue_hops", "Mails to go out, one for each destination", ["state"], multiprocess_mode="mostrecent"
)
SEND_OLDEST_SECONDS = Gauge(
    "leasebox_send_oldest_due_seconds", "How long the first mail in the queue is due", multiprocess_mode="mostrecent"
)


def share(folder: Path) -> None:
    """Empty the folder that this machine's roles will share. Call before any role starts."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stale in folder.glob("*.db"):
        stale.unlink(missing_ok=True)


def render() -> bytes:
    """All roles' metrics in Prometheus' text format, or this process's own when no folder is shared."""
    if os.environ.get(FOLDER_VARIABLE):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest()
