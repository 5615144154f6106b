"""From a fact's commit to the request at a receiver, at 50 mails a second: alone, and with a tenth of bad receivers.

`python tests/bench/bench_webhooks.py [--quick]` prints the figures. A fact's time is taken just before its transaction
commits, so what is measured holds the commit, too. Everything runs on one machine: SMTP, parser, worker, receivers.
"""

import asyncio
import contextlib
import multiprocessing
import smtplib
import statistics
import sys
import tempfile
import time
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account

from tests.fakes.receiver import Receiver, floods, hangs, resets, trickles
from tests.instance import Instance, up
from tests.kit import sign

MAILS, QUICK_MAILS, RATE = 1_500, 400, 50.0
QUICK = {"mails": QUICK_MAILS}
ENDPOINTS, BAD = 40, 4
GOALS = {"median_ms": 15.0, "p99_ms": 80.0, "ratio": 2.0}
_PRICES = """
[meters]
"mailbox.lease" = {free = 1000000, window = "hour", price = "0.001000"}
"webhook.create" = {free = 1000000, window = "day", price = "0.001000"}
"""
_MAIL = (
    "From: Acme <no-reply@acme.example>\r\nTo: <{to}>\r\nSubject: Your code\r\nMessage-ID: <{n}@acme.example>\r\n\r\n"
    "Your verification code is {n:06d}. It expires in 10 minutes.\r\n"
)


def rows(mails: int = MAILS) -> list[dict[str, Any]]:
    """Milliseconds from commit to arrival; the healthy receivers' p95 without and with bad ones beside them."""
    with tempfile.TemporaryDirectory() as folder, _bad_receivers() as bad:
        (Path(folder) / "prices.toml").write_text(_PRICES)
        settings = {
            "LEASEBOX_API_RATE": "0",
            "LEASEBOX_SMTP_RATE": "0",
            "LEASEBOX_PRICES": str(Path(folder) / "prices.toml"),
            "LEASEBOX_WEBHOOK_ALLOW": "127.0.0.0/8",
        }
        with up(Path(folder) / "home", **settings) as instance:
            alone = asyncio.run(_measured(instance, mails, []))
            beside = asyncio.run(_measured(instance, mails, bad))
    ratio = _p(beside, 95) / _p(alone, 95)
    return [
        {
            "name": f"webhook: commit to request, {RATE:.0f} mails/s",
            "unit": "ms",
            "median": statistics.median(alone),
            "p99": _p(alone, 99),
            "n": len(alone),
            "goal": GOALS["median_ms"],
            "goal_p99": GOALS["p99_ms"],
        },
        {"name": "webhook: p95, all receivers healthy", "unit": "ms", "median": _p(alone, 95), "n": len(alone)},
        {
            "name": f"webhook: p95 of the healthy, {BAD} of {ENDPOINTS} bad",
            "unit": "ms",
            "median": _p(beside, 95),
            "p99": _p(beside, 99),
            "n": len(beside),
        },
        {"name": "webhook: the second over the first", "unit": "×", "median": ratio, "goal": GOALS["ratio"]},
    ]


async def _measured(instance: Instance, mails: int, bad: list[str]) -> list[float]:
    """Milliseconds of every fact that healthy receivers were told of."""
    async with Receiver().listening() as receiver:
        urls = [*bad, *[receiver.url] * (ENDPOINTS - len(bad))]
        addresses = await asyncio.to_thread(_prepared, instance, urls)
        warm = [addresses[number % ENDPOINTS] for number in range(ENDPOINTS)]
        await asyncio.to_thread(_sent, instance, warm)
        expected = sum(address in addresses[len(bad) :] for address in warm)
        await receiver.count(expected, within_s=60)
        wanted = [addresses[number % ENDPOINTS] for number in range(mails)]
        expected += sum(address in addresses[len(bad) :] for address in wanted)
        first = len(receiver.got)
        await asyncio.to_thread(_sent, instance, wanted)
        got = (await receiver.count(expected, within_s=60))[first:]
    return [(one.at - datetime.fromisoformat(one.event["created_at"]).timestamp()) * 1000 for one in got]


def _prepared(instance: Instance, urls: list[str]) -> list[str]:
    """A tenant with a mailbox and a webhook for each URL; the addresses in the same order."""
    with httpx.Client(base_url=instance.url, timeout=70) as http:
        wallet = Account.create()
        message = http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address}).json()["message"]
        body = {"message": message, "signature": sign(wallet, message)}
        session = http.post("/v2/auth/siwe/verify", json=body).json()
        http.headers["authorization"] = f"Bearer {session['access_token']}"
        addresses = []
        for url in urls:
            order = {"agent_id": session["agent_id"], "purpose": "bench", "ttl_hours": 1}
            lease = http.post("/v2/mailboxes/leases", json=order).json()
            hook = {"target_url": url, "event_types": ["message.received"], "mailbox_ids": [lease["mailbox_id"]]}
            http.post("/v2/webhooks", json=hook).raise_for_status()
            addresses.append(lease["address"])
        return addresses


def _sent(instance: Instance, addresses: list[str]) -> None:
    """One mail to each, at the rate."""
    with smtplib.SMTP(instance.smtp_host, instance.smtp_port) as smtp:
        began = time.monotonic()
        for number, address in enumerate(addresses):
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            smtp.sendmail("no-reply@acme.example", [address], _MAIL.format(to=address, n=number))


@contextlib.contextmanager
def _bad_receivers() -> Any:
    """One of each kind in a process of its own, so that what they do costs the others no turn of their loop."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve_bad, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()
        process.join()


def _serve_bad(told: Connection) -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            kinds = [Receiver(manner).listening() for manner in (hangs, trickles, floods, resets)]
            told.send([(await stack.enter_async_context(kind)).url for kind in kinds])
            await asyncio.Event().wait()

    asyncio.run(main())


def _p(figures: list[float], share: int) -> float:
    return statistics.quantiles(figures, n=100)[share - 1]


if __name__ == "__main__":
    for row in rows(QUICK_MAILS if "--quick" in sys.argv else MAILS):
        print(row)
