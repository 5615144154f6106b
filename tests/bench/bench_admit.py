"""What admission to a metered call costs in the HTTP process: `python -m tests.bench.bench_admit`.

It runs on an embedded PostgreSQL of its own. CPU is this process's, so the database's share is not in it.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop

from leasebox.billing import ledger, price_list, service
from leasebox.billing.model import Demand
from leasebox.billing.prices import METERED_ROUTES, load
from leasebox.identity import service as identity
from leasebox.identity.model import SCOPES, Caller, Signer
from leasebox.infra import db, migrate
from leasebox.infra.db import Database, Tx
from leasebox.infra.embedded import Engines
from leasebox.values.ids import SessionId
from leasebox.values.keys import Purpose, ring
from leasebox.values.money import Usdc
from leasebox.values.paths import Route
from leasebox.values.secret import Secret

QUICK = None
MOST_ADMIT_MICROSECONDS = 150.0
MOST_ROUND_TRIPS = 1
_FREE, _PAID = Route("GET", "/v2/messages"), Route("POST", "/v2/mailboxes/leases")
_BOOK = """
[meters."message.read"]
free = 1000000000
window = "day"
price = "0.000100"
[meters."mailbox.lease"]
free = 0
window = "hour"
price = "0.001000"
"""
_TURNS, _ROUNDS = 500, 5
_KEYS = ring(Secret("m" * 32), Secret("b" * 32), Purpose.PAYMENT_PROOF)
_NOW = datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)


class _CountingConnection:
    """Counts what is asked of the database."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.trips = 0

    def __getattr__(self, name: str) -> Any:
        self.trips += 1
        return getattr(self._connection, name)


def rows() -> list[dict[str, Any]]:
    """The median of five rounds of 500 admissions each, and round trips counted."""
    assert {_FREE, _PAID} <= set(METERED_ROUTES)
    with tempfile.TemporaryDirectory(prefix="leasebox-bench-") as folder:
        engines = Engines(Path(folder), wanted=["postgres"])
        urls = engines.start()
        try:
            assert urls.database_url is not None
            migrate.upgrade(urls.database_url)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_measure(urls.database_url))
        finally:
            engines.stop()


async def _measure(url: str) -> list[dict[str, Any]]:
    database = await db.connect(url)
    try:
        caller = await database.transact(_payer)
        free = await _typical(
            database, lambda tx, _: service.admit(tx, caller, _demand(_FREE, None), _KEYS), _no_proofs
        )
        paid = await _typical(
            database,
            lambda tx, text: service.admit(tx, caller, _demand(_PAID, text), _KEYS),
            lambda: _proofs(database, caller, _TURNS),
        )
        trips = max(await _trips(database, caller, _FREE, None), await _trips_paid(database, caller))
    finally:
        await database.close()
    cpu = {"unit": "µs CPU", "n": _TURNS * _ROUNDS, "goal": MOST_ADMIT_MICROSECONDS}
    return [
        {"name": "admit: free", "median": free, **cpu},
        {"name": "admit: paid by a proof", "median": paid, **cpu},
        {"name": "admit: round trips", "median": trips, "unit": "trips", "n": 2, "goal": MOST_ROUND_TRIPS},
    ]


async def _payer(tx: Tx) -> Caller:
    """A tenant with balance for all that follows."""
    book = load(_BOOK)
    assert not isinstance(book, tuple)
    await price_list.publish(tx, book, _NOW)
    made = await identity.sign_in(tx, Signer("0x" + "1" * 40, 84532, "sign-in"), _NOW, "req_bench")
    amount = Usdc.parse("1000")
    await ledger.grant(tx, made.tenant_id, amount, "bench", actor="bench", at=_NOW, request_id="req_bench")
    return Caller(
        made.tenant_id,
        made.agent_id,
        SessionId.new(_NOW),
        frozenset(SCOPES),
        None,
        made.signer.address,
        84532,
        _NOW + timedelta(hours=1),
        "active",
    )


async def _typical(
    database: Database,
    admit: Callable[[Tx, str | None], Awaitable[object]],
    prepare: Callable[[], Awaitable[list[str | None]]],
) -> float:
    """The median round; each is one transaction, so that BEGIN and COMMIT, which are the work's, do not count."""

    async def turns(tx: Tx) -> float:
        start = time.process_time_ns()
        for text in texts:
            await admit(tx, text)
        return (time.process_time_ns() - start) / len(texts) / 1_000

    found = []
    for _ in range(_ROUNDS):
        texts = await prepare()
        found.append(await database.transact(turns))
    return statistics.median(found)


async def _no_proofs() -> list[str | None]:
    return [None] * _TURNS


async def _proofs(database: Database, caller: Caller, count: int) -> list[str | None]:
    async def hold(tx: Tx) -> list[str | None]:
        issued = [await service.issue_proof(tx, caller, _PAID, 1, _KEYS, _NOW, "req_bench") for _ in range(count)]
        return [proof.text.reveal() for proof in issued]

    return await database.transact(hold)


async def _trips(database: Database, caller: Caller, route: Route, text: str | None) -> int:
    async def body(tx: Tx) -> int:
        counting = _CountingConnection(tx._connection)
        await service.admit(Tx(counting), caller, _demand(route, text), _KEYS)
        return counting.trips

    return await database.transact(body)


async def _trips_paid(database: Database, caller: Caller) -> int:
    return await _trips(database, caller, _PAID, (await _proofs(database, caller, 1))[0])


def _demand(route: Route, text: str | None) -> Demand:
    return Demand(route, 1, text, _NOW, "req_bench")


if __name__ == "__main__":
    for row in rows():
        print(f"{row['name']:32} {row['median']:8.2f} {row['unit']} (at most {row['goal']:g})")
