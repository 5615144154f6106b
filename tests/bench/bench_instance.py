"""A real instance as its users have it: how soon it answers, what it weighs, how soon a mail is read.

Memory is PSS (what is shared counts once, in parts), of all processes: roles, engines and `up` itself. Other leaseboxes
on the machine take a part of what is shared, so it is right only where there is none. After work: once mail
on 64 connections and leases and lists, 16 in flight, have been taken as fast as they go, all mail has been parsed and
some seconds have passed. `python -m tests.bench instance [--quick]` prints the figures.
"""

import contextlib
import json
import smtplib
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.bench import figures, house, http_load
from tests.bench.figures import Row
from tests.bench.house import House
from tests.bench.smtp_load import Sending
from tests.instance import up

QUICK = {"mails": 20, "starts": 1, "load_s": 0.5, "calls": 128, "quiet_s": 1.0}
GOALS = {"median_ms": 15.0, "p99_ms": 60.0, "pss_mb": 300.0, "start_s": 2.0}
_MAILBOXES, _CONNECTIONS, _IN_FLIGHT = 64, 64, 16
_MAIL = (
    "From: Acme <no-reply@acme.example>\r\nTo: <{to}>\r\nSubject: Your code\r\nMessage-ID: <{n}@acme.example>\r\n\r\n"
    "Your verification code is {n:06d}. It expires in 10 minutes.\r\n"
)


def rows(mails: int = 200, starts: int = 4, load_s: float = 5.0, calls: int = 800, quiet_s: float = 3.0) -> list[Row]:
    """Start, memory idle and after work, and the end of `DATA` to the answer of `wait`.

    starts: on empty homes; with several, the last of those homes is started once more, as a used one. load_s, calls:
    the work. quiet_s: how long nothing is asked before memory is looked at.
    """
    with tempfile.TemporaryDirectory(prefix="leasebox-bench-") as name:
        folder = Path(name)
        settings = house.generous(folder)
        cold = [_started(folder / f"home{number}", settings) for number in range(starts - 1)]
        began = time.perf_counter()
        with up(folder / "home", **settings) as instance:
            _answers(instance.url)
            cold.append(time.perf_counter() - began)
            time.sleep(quiet_s)
            idle = _weights(instance.process.pid)
            with house.entered(instance) as entered:
                took = _waited(entered, mails)
                sent = _worked(entered, load_s, calls)
            time.sleep(quiet_s)
            after = _weights(instance.process.pid)
        used = [_started_again(folder / "home", settings, quiet_s)] if starts > 1 else []
    goals = {"goal": GOALS["median_ms"], "goal_p99": GOALS["p99_ms"]}
    return [
        figures.row("start: empty home to first 200", "s", cold, goal=GOALS["start_s"]),
        *(figures.row("start: used home to first 200", "s", [each], goal=GOALS["start_s"]) for each, _ in used),
        *_memory("idle, new home", idle, GOALS["pss_mb"]),
        *_memory("after work", after, None),
        figures.row("memory: work in between", "mails and calls", [sent + 2 * calls]),
        *(row for _, weights in used for row in _memory("idle, used home", weights, GOALS["pss_mb"])),
        figures.row("mail: DATA end to `wait` answered, one at a time", "ms", took, **goals),
    ]


def _started(home: Path, settings: dict[str, str]) -> float:
    """Seconds from the command to the first 200."""
    began = time.perf_counter()
    with up(home, **settings) as instance:
        _answers(instance.url)
        return time.perf_counter() - began


def _started_again(home: Path, settings: dict[str, str], quiet_s: float) -> tuple[float, dict[str, list[float]]]:
    """The same for a home that has been used, and what its processes weigh idle."""
    began = time.perf_counter()
    with up(home, **settings) as instance:
        _answers(instance.url)
        took = time.perf_counter() - began
        time.sleep(quiet_s)
        return took, _weights(instance.process.pid)


def _answers(url: str) -> None:
    httpx.get(f"{url}/readyz").raise_for_status()


def _memory(when: str, weights: dict[str, list[float]], goal: float | None) -> list[Row]:
    """In all, and by what the processes do."""
    count = sum(map(len, weights.values()))
    whole = [sum(map(sum, weights.values()))]
    return [
        figures.row(f"memory: all processes, {when} (PSS)", "MB", whole, n=count, goal=goal),
        *(
            figures.row(f"memory: {role}, {when} (PSS)", "MB", [sum(each)], n=len(each))
            for role, each in sorted(weights.items())
        ),
    ]


def _weights(pid: int) -> dict[str, list[float]]:
    """MB of each process, by what it does."""
    return {role: [_pss_mb(each) for each in pids] for role, pids in house.by_role(pid).items()}


def _pss_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _worked(entered: House, seconds: float, calls: int) -> int:
    """Mail and calls as fast as they are taken, until all mail is parsed; how many mails that were."""
    leases = entered.leases(_MAILBOXES)
    addresses = [lease["address"] for lease in leases]
    sending = Sending(entered.instance.smtp_port, addresses, connections=_CONNECTIONS, seconds=seconds)
    token = entered.http.headers["authorization"].partition(" ")[2]
    order = {"agent_id": entered.agent_id, "purpose": "bench", "ttl_hours": 1}
    url = urlsplit(entered.instance.url)
    assert url.hostname is not None
    assert url.port is not None
    with http_load.client(url.hostname, url.port) as client:
        listed = http_load.request("GET", f"/v2/messages?mailbox_id={leases[0]['mailbox_id']}", token)
        leased = http_load.request("POST", "/v2/mailboxes/leases", token, order)
        client.send([leased] * calls, _IN_FLIGHT, 201)
        client.send([listed] * calls, _IN_FLIGHT, 200)
    mails = sending.done().mails
    house.settle(entered.instance.process.pid)
    return mails


def _waited(entered: House, mails: int) -> list[float]:
    """Milliseconds of each; the first five warm it up."""
    lease = entered.leases(1)[0]
    return [_round(entered, lease, number) * 1000 for number in range(mails + 5)][5:]


def _round(entered: House, lease: dict[str, Any], number: int) -> float:
    """Seconds from the last octet of DATA to the waiter's answer."""
    answered: list[tuple[float, int, bytes]] = []

    def wait() -> None:
        query = {"mailbox_id": lease["mailbox_id"], "timeout_s": 10, "has": "otp"}
        answer = entered.http.get("/v2/messages/wait", params=query)
        answered.append((time.perf_counter(), answer.status_code, answer.content))

    with smtplib.SMTP(entered.instance.smtp_host, entered.instance.smtp_port) as smtp:
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
    for row in rows():
        print(row)
