"""Named points just before and just after a commit, at which a role can be killed. The product has no hook for it.

A trigger on the table waits for an advisory lock that a campaign may hold. With a row trigger the statement hangs:
whoever is killed there has not committed, and the transaction is rolled back. With a trigger that is deferred the
COMMIT hangs: the client is killed, then the commit happens, and nobody is left to tell of it.
"""

import asyncio
import contextlib
import os
import signal
from typing import NamedTuple

import asyncpg

from tests.faults.machine import Machine
from tests.infra.homes import alive

_KEY = 7007
# Seals are made every ten seconds; whatever else happens, happens all the time.
_PATIENCE_S = 13.0
_SETUP = """
CREATE SCHEMA IF NOT EXISTS faults;
CREATE OR REPLACE FUNCTION faults.gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7007, TG_ARGV[0]::int);
    RETURN NULL;
END $$;
"""
_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = $1 AND objid = $2"


class Point(NamedTuple):
    """A commit of a role: the row that it writes."""

    name: str
    role: str
    event: str
    table: str


POINTS = (
    Point("mail accepted", "smtp", "INSERT", "mails"),
    Point("message published", "parser", "INSERT", "messages"),
    Point("lease granted", "http", "INSERT", "leases"),
    Point("lease released or renewed", "http", "UPDATE", "leases"),
    Point("proof issued", "http", "INSERT", "payment_proofs"),
    Point("proof spent", "http", "UPDATE", "payment_proofs"),
    Point("use metered", "http", "INSERT", "usage_events"),
    Point("answer kept", "http", "INSERT", "kept_answers"),
    Point("session made", "http", "INSERT", "sessions"),
    Point("facts numbered", "worker", "INSERT", "fact_positions"),
    Point("letter handed in", "http", "INSERT", "send_attempts"),
    Point("hop claimed or settled", "worker", "UPDATE", "send_hops"),
    Point("delivery settled", "worker", "UPDATE", "webhook_deliveries"),
    Point("log sealed", "worker", "INSERT", "seal_heads"),
)
SIDES = ("before", "after")


async def install(database: asyncpg.Connection) -> None:
    """Put a gate on both sides of every point; they stand open."""
    await database.execute(_SETUP)
    for number, point in enumerate(POINTS):
        for side in SIDES:
            kind = "CREATE TRIGGER" if side == "before" else "CREATE CONSTRAINT TRIGGER"
            late = "" if side == "before" else "DEFERRABLE INITIALLY DEFERRED"
            name = f"faults_{point.event.lower()}_{side}"
            await database.execute(f"DROP TRIGGER IF EXISTS {name} ON {point.table}")
            await database.execute(
                f"{kind} {name} AFTER {point.event} ON {point.table} {late} "
                f"FOR EACH ROW EXECUTE FUNCTION faults.gate({_lock(number, side)})"
            )


async def kill_at(machine: Machine, point: Point, side: str) -> bool:
    """Close the gate, wait until somebody stands before it, kill -9 all of the role, open it again.

    False if nobody came in time.
    """
    lock = _lock(POINTS.index(point), side)
    database = await machine.database()
    try:
        await database.execute("SELECT pg_advisory_lock($1, $2)", _KEY, lock)
        caught = await _caught(database, lock)
        if caught:
            await kill_all(machine.family(point.role))
    finally:
        await database.close()  # which opens the gate
    return caught


async def kill_all(pids: list[int]) -> None:
    """SIGKILL; returns when they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.005)


async def _caught(database: asyncpg.Connection, lock: int) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while not await database.fetchval(_WAITING, _KEY, lock):
                await asyncio.sleep(0.005)
            return True
    return False


def _lock(number: int, side: str) -> int:
    return 2 * number + SIDES.index(side)
