"""From a fact's commit to the request at a receiver: one by one, with a tenth of bad receivers, and to many endpoints.

A fact's time is taken just before its transaction commits, so what is measured holds the commit, too. Everything runs
on one machine: SMTP, parser, worker, receivers. CPU is the worker's, for one delivery.
`python -m tests.bench webhooks [--quick]` prints the figures.
"""

import asyncio
import contextlib
import multiprocessing
import smtplib
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from multiprocessing.connection import Connection
from typing import NamedTuple, TypeVar

from tests.bench import figures, house
from tests.bench.figures import Row
from tests.bench.house import House
from tests.fakes.receiver import Received, Receiver, floods, hangs, resets, trickles

QUICK = {"mails": 80, "beside": 0, "singles": 8, "burst": 20}
RATE = 50.0
ENDPOINTS, BAD = 40, 4
GOALS = {"median_ms": 15.0, "p99_ms": 80.0, "ratio": 2.0}
_PATIENCE_S = 60.0
_Result = TypeVar("_Result")
_MAIL = (
    "From: Acme <no-reply@acme.example>\r\nTo: <{to}>\r\nSubject: Your code\r\nMessage-ID: <{n}@acme.example>\r\n\r\n"
    "Your verification code is {n:06d}. It expires in 10 minutes.\r\n"
)


class _Found(NamedTuple):
    """Milliseconds of every delivery, and the worker's CPU for one of them in µs."""

    took_ms: list[float]
    cpu_us: float


def rows(mails: int = 500, beside: int = 500, singles: int = 40, burst: int = 100) -> list[Row]:
    """Milliseconds from commit to arrival; how one fact goes to ENDPOINTS; the healthy receivers' p95 without and with
    bad ones beside them. mails: at RATE; beside: the same with bad ones, 0 leaves it out; singles, burst: facts to all
    endpoints, one after the other and all at once."""
    with house.opened(LEASEBOX_WEBHOOK_ALLOW="127.0.0.0/8") as opened:
        alone = _in_turn(opened, lambda agent: _measured(agent, mails, []))
        name, goals = f"webhook: commit to request, {RATE:.0f} mails/s", (GOALS["median_ms"], GOALS["p99_ms"])
        found = [
            figures.row(name, "ms", alone.took_ms, cpu_us=alone.cpu_us, goal=goals[0], goal_p99=goals[1]),
            *_in_turn(opened, lambda agent: _fanned_out(agent, singles, burst)),
        ]
        if beside:
            with _bad_receivers() as bad:
                found += _beside(alone, _in_turn(opened, lambda agent: _measured(agent, beside, bad)))
    return found


def _in_turn(opened: House, work: Callable[[House], Coroutine[None, None, _Result]]) -> _Result:
    """As an agent of its own: a tenant has a hundred endpoints at most."""
    with house.entered(opened.instance) as agent:
        return asyncio.run(work(agent))


def _beside(alone: _Found, beside: _Found) -> list[Row]:
    first, second = _p95(alone.took_ms), _p95(beside.took_ms)
    return [
        figures.row("webhook: p95, all receivers healthy", "ms", [first], n=len(alone.took_ms)),
        figures.row(f"webhook: p95 of the healthy, {BAD} of {ENDPOINTS} bad", "ms", [second], n=len(beside.took_ms)),
        figures.row("webhook: the second over the first", "×", [second / first], goal=GOALS["ratio"]),
    ]


async def _measured(opened: House, mails: int, bad: list[str]) -> _Found:
    """A mailbox and a webhook for each endpoint, and mails to all of them in turn."""
    async with Receiver().listening() as receiver:
        urls = [*bad, *[receiver.url] * (ENDPOINTS - len(bad))]
        addresses = await asyncio.to_thread(_prepared, opened, urls)
        expected = 0
        for count in (ENDPOINTS, mails):  # the first ones warm it up
            wanted = [addresses[number % ENDPOINTS] for number in range(count)]
            first, expected = expected, expected + sum(address in addresses[len(bad) :] for address in wanted)
            meter = house.Meter(opened.instance.process.pid).begin()
            await asyncio.to_thread(_sent, opened, wanted, RATE)
            got = (await receiver.count(expected, within_s=_PATIENCE_S))[first:]
        return _Found([_took_ms(one) for one in got], meter.spent_us(["worker"])["worker"] / len(got))


async def _fanned_out(opened: House, singles: int, burst: int) -> list[Row]:
    """A mailbox that ENDPOINTS webhooks are told of."""
    async with Receiver().listening() as receiver:
        lease = opened.leases(1)[0]
        for _ in range(ENDPOINTS):
            await asyncio.to_thread(_hook, opened, receiver.url, lease["mailbox_id"])
        last = []
        for number in range(singles + 2):
            await asyncio.to_thread(_sent, opened, [lease["address"]], RATE)
            got = await receiver.count((number + 1) * ENDPOINTS, within_s=_PATIENCE_S)
            last.append(max(_took_ms(one) for one in got[-ENDPOINTS:]))
        before = len(receiver.got)
        meter = house.Meter(opened.instance.process.pid).begin()
        await asyncio.to_thread(_sent, opened, [lease["address"]] * burst, 1_000_000.0)
        got = (await receiver.count(before + burst * ENDPOINTS, within_s=_PATIENCE_S))[before:]
        cpu_us = meter.spent_us(["worker"])["worker"] / len(got)
    span = max(one.at for one in got) - min(_committed(one) for one in got)
    told = f"webhook: {burst} facts at once to {ENDPOINTS} endpoints each"
    return [
        figures.row(f"webhook: one fact to {ENDPOINTS} endpoints, commit to the last request", "ms", last[2:]),
        figures.row(told, "deliveries/s", [len(got) / span], n=len(got), cpu_us=cpu_us),
    ]


def _took_ms(one: Received) -> float:
    return (one.at - _committed(one)) * 1000


def _committed(one: Received) -> float:
    return datetime.fromisoformat(one.event["created_at"]).timestamp()


def _prepared(opened: House, urls: Sequence[str]) -> list[str]:
    """A mailbox and a webhook for each URL; the addresses in the same order."""
    leases = opened.leases(len(urls))
    for url, lease in zip(urls, leases, strict=True):
        _hook(opened, url, lease["mailbox_id"])
    return [lease["address"] for lease in leases]


def _hook(opened: House, url: str, mailbox_id: str) -> None:
    hook = {"target_url": url, "event_types": ["message.received"], "mailbox_ids": [mailbox_id]}
    opened.http.post("/v2/webhooks", json=hook).raise_for_status()


def _sent(opened: House, addresses: Sequence[str], rate: float) -> None:
    """One mail to each. rate: mails a second."""
    with smtplib.SMTP(opened.instance.smtp_host, opened.instance.smtp_port) as smtp:
        began = time.monotonic()
        for number, address in enumerate(addresses):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            smtp.sendmail("no-reply@acme.example", [address], _MAIL.format(to=address, n=number))


@contextlib.contextmanager
def _bad_receivers() -> Iterator[list[str]]:
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


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[94]


if __name__ == "__main__":
    for row in rows():
        print(row)
