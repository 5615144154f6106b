"""A real instance as its users have it: how soon it answers, what it weighs, how soon a mail is read.

`python tests/bench/bench_instance.py [--quick]` prints the figures.
"""

import json
import smtplib
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account

from tests.instance import Instance, up
from tests.kit import sign

MAILS, QUICK_MAILS = 200, 40
STARTS = 3
QUICK = {"mails": QUICK_MAILS}
GOALS = {"median_ms": 15.0, "p99_ms": 60.0, "pss_mb": 300.0, "start_s": 2.0}
_MAIL = (
    "From: Acme <no-reply@acme.example>\r\nTo: <{to}>\r\nSubject: Your code\r\nMessage-ID: <{n}@acme.example>\r\n\r\n"
    "Your verification code is {n:06d}. It expires in 10 minutes.\r\n"
)


def rows(mails: int = MAILS) -> list[dict[str, Any]]:
    """Start (cold and warm home), memory when idle, and the end of `DATA` to the answer of `wait`, mail by mail."""
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / f"home{number}" for number in range(STARTS)]
        cold = statistics.median(_started(home)[0] for home in homes)
        warm, found = _started(homes[0], mails)
    return [
        {"name": "start: empty home to first 200", "unit": "s", "median": cold, "n": STARTS, "goal": GOALS["start_s"]},
        {"name": "start: used home to first 200", "unit": "s", "median": warm, "n": 1, "goal": GOALS["start_s"]},
        *found,
    ]


def _started(home: Path, mails: int = 0) -> tuple[float, list[dict[str, Any]]]:
    began = time.perf_counter()
    with up(home, LEASEBOX_API_RATE="0") as instance:
        httpx.get(f"{instance.url}/readyz").raise_for_status()
        took = time.perf_counter() - began
        return took, [*_weighed(instance), *_waited(instance, mails)] if mails else []


def _weighed(instance: Instance) -> list[dict[str, Any]]:
    time.sleep(3)
    weights = {pid: _pss_mb(pid) for pid in _family(instance.process.pid)}
    return [
        {
            "name": f"memory: all {len(weights)} processes, idle (PSS)",
            "unit": "MB",
            "median": sum(weights.values()),
            "n": len(weights),
            "goal": GOALS["pss_mb"],
        }
    ]


def _family(pid: int) -> list[int]:
    """A process and everything it started, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    family, front = [], [pid]
    while front:
        family.append(front.pop())
        front.extend(children.get(family[-1], []))
    return family


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _waited(instance: Instance, mails: int) -> list[dict[str, Any]]:
    http = httpx.Client(base_url=instance.url, timeout=70)
    wallet = Account.create()
    message = http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address}).json()["message"]
    session = http.post("/v2/auth/siwe/verify", json={"message": message, "signature": sign(wallet, message)}).json()
    http.headers["authorization"] = f"Bearer {session['access_token']}"
    order = {"agent_id": session["agent_id"], "purpose": "bench", "ttl_hours": 1}
    lease = http.post("/v2/mailboxes/leases", json=order).json()
    took = [_round(instance, http, lease, number) * 1000 for number in range(mails + 5)][5:]
    took.sort()
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    return [
        {
            "name": "mail: DATA end to `wait` answered, one at a time",
            "unit": "ms",
            "median": statistics.median(took),
            "p99": p99,
            "n": len(took),
            "goal": GOALS["median_ms"],
            "goal_p99": GOALS["p99_ms"],
        }
    ]


def _round(instance: Instance, http: httpx.Client, lease: dict[str, Any], number: int) -> float:
    """Seconds from the last octet of DATA to the waiter's answer."""
    answered: list[tuple[float, int, bytes]] = []

    def wait() -> None:
        query = {"mailbox_id": lease["mailbox_id"], "timeout_s": 10, "has": "otp"}
        answer = http.get("/v2/messages/wait", params=query)
        answered.append((time.perf_counter(), answer.status_code, answer.content))

    with smtplib.SMTP(instance.smtp_host, instance.smtp_port) as smtp:
        smtp.ehlo()
        smtp.mail("no-reply@acme.example")
        smtp.rcpt(lease["address"])
        smtp.docmd("DATA")
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.03)  # the waiter must be waiting already: what is measured is the push, not the question
        sent = time.perf_counter()
        smtp.send(_MAIL.format(to=lease["address"], n=number) + ".\r\n")
        smtp.getreply()
        waiter.join()
    when, status, body = answered[0]
    if status != 200 or json.loads(body)["otp_code"] != f"{number:06d}":
        raise SystemExit(f"wait answered {status}: {body[:200]!r}")
    return when - sent


if __name__ == "__main__":
    for row in rows(QUICK_MAILS if "--quick" in sys.argv else MAILS):
        print(row)
