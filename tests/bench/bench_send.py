"""Mail between leased mailboxes of a real instance: sent over HTTP, seen by `wait`; and how much goes through.

`python -m tests.bench send` prints the figures; a short run leaves it out.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account

from tests.bench import figures
from tests.bench.figures import Row
from tests.instance import Instance, up
from tests.kit import sign

QUICK = None
GOALS = {"median_ms": 30.0}
_PRICES = '[meters."{}"]\nfree = 1000000\nwindow = "day"\nprice = "0.001000"\n'
_WRITERS = 8


def rows(mails: int = 120) -> list[Row]:
    """From the request's first octet to the waiter's answer, mail by mail; then many at once into the queue's table."""
    with tempfile.TemporaryDirectory() as folder:
        prices = Path(folder) / "prices.toml"
        prices.write_text("".join(map(_PRICES.format, ("mailbox.lease", "message.read", "message.send"))))
        with up(Path(folder) / "home", LEASEBOX_API_RATE="0", LEASEBOX_PRICES=str(prices)) as instance:
            return [*_seen(instance, mails), _through(instance, mails)]


def _seen(instance: Instance, mails: int) -> list[Row]:
    sender, one = _signed_in(instance)
    reader, other = _signed_in(instance)
    message = {"mailbox_id": one["mailbox_id"], "to": other["address"], "subject": "Hello", "text": "Hello there."}
    took, answered = [], []
    for number in range(mails + 5):
        sent, seen, accepted = _round(sender, reader, {**message, "subject": f"Hello {number}"}, other["mailbox_id"])
        took.append((seen - sent) * 1000)
        answered.append((accepted - sent) * 1000)
    return [
        figures.row("send: request to `wait` answered, one at a time", "ms", took[5:], goal=GOALS["median_ms"]),
        figures.row("send: request to 202, mail delivered inside", "ms", answered[5:]),
    ]


def _round(
    sender: httpx.Client, reader: httpx.Client, message: dict[str, Any], mailbox_id: str
) -> tuple[float, float, float]:
    """When the message was sent, when the waiter had it, and when its sender had the 202."""
    answered: list[tuple[float, int, bytes]] = []

    def wait() -> None:
        answer = reader.get("/v2/messages/wait", params={"mailbox_id": mailbox_id, "timeout_s": 10})
        answered.append((time.perf_counter(), answer.status_code, answer.content))

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.03)  # the waiter must be waiting already: what is measured is the way of the mail
    sent = time.perf_counter()
    accepted = sender.post("/v2/messages/send", json=message)
    told = time.perf_counter()
    waiter.join()
    seen, status, body = answered[0]
    if accepted.status_code != 202 or status != 200 or json.loads(body)["subject"] != message["subject"]:
        raise SystemExit(f"{accepted.status_code} {accepted.text}, wait {status}: {body[:200]!r}")
    return sent, seen, told


def _through(instance: Instance, mails: int) -> Row:
    """How many messages to mailboxes of the instance some writers hand in together."""
    writers = [_signed_in(instance) for _ in range(_WRITERS)]
    message = {"to": writers[0][1]["address"], "subject": "Hello", "text": "Hello there."}

    def write(http: httpx.Client, lease: dict[str, Any]) -> Callable[[int], int]:
        body = {**message, "mailbox_id": lease["mailbox_id"]}
        return lambda _: http.post("/v2/messages/send", json=body).status_code

    verbs = [write(*each) for each in writers]
    began = time.perf_counter()
    with ThreadPoolExecutor(_WRITERS) as pool:
        codes = list(pool.map(lambda number: verbs[number % _WRITERS](number), range(mails)))
    rate = mails / (time.perf_counter() - began)
    if set(codes) != {202}:
        raise SystemExit(f"refused: {sorted(set(codes))}")
    return figures.row(f"send: {_WRITERS} writers to one mailbox", "messages/s", [rate], n=mails)


def _signed_in(instance: Instance) -> tuple[httpx.Client, dict[str, Any]]:
    """A fresh tenant's client and its leased mailbox."""
    http, wallet = httpx.Client(base_url=instance.url, timeout=70), Account.create()
    message = http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address}).json()["message"]
    session = http.post("/v2/auth/siwe/verify", json={"message": message, "signature": sign(wallet, message)}).json()
    http.headers["authorization"] = f"Bearer {session['access_token']}"
    order = {"agent_id": session["agent_id"], "purpose": "bench", "ttl_hours": 1}
    lease: dict[str, Any] = http.post("/v2/mailboxes/leases", json=order).json()
    return http, lease


if __name__ == "__main__":
    for row in rows():
        print(row)
