"""Prometheus metrics. Roles of one machine share a folder (prometheus_client's multiprocess mode), `/metrics` adds up.

Names follow Prometheus' conventions: base units (seconds, bytes), `_total` for counters.
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
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
PARSED_MAILS = Counter("leasebox_parsed_mails_total", "Mails turned into messages by outcome", ["outcome"])
PARSE_SECONDS = Histogram("leasebox_parse_seconds", "Accepted to visible, per mail", buckets=_QUICK)
PURGED_MESSAGES = Counter("leasebox_purged_messages_total", "Messages erased after their lease's retention")


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
