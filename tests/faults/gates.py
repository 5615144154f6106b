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
# The processes of an instance under test tell PostgreSQL their ids (`stepped/sitecustomize.py`).
_WAITING = """
SELECT s.application_name FROM pg_locks l JOIN pg_stat_activity s USING (pid)
WHERE l.locktype = 'advisory' AND NOT l.granted AND l.classid = $1 AND l.objid = $2
"""


class Point(NamedTuple):
    """A commit of a role: the row that it writes; `when` tells it from what other roles write there."""

    name: str
    role: str
    event: str
    table: str
    when: str = "true"


POINTS = (
    # A letter to a mailbox next door comes from nowhere.
    Point("mail accepted", "smtp", "INSERT", "mails", "NEW.client_address <> ''"),
    Point("mail handed in", "smtp", "INSERT", "usage_events", "NEW.request_id LIKE 'smtp-%'"),
    Point("message published", "parser", "UPDATE", "mails", "NEW.state = 'done'"),
    Point("session made", "http", "INSERT", "sessions"),
    Point("claim approved", "http", "UPDATE", "claims", "NEW.state = 'approved'"),
    Point("lease granted", "http", "INSERT", "leases"),
    Point("lease released or renewed", "http", "UPDATE", "leases"),
    Point("proof issued", "http", "INSERT", "payment_proofs"),
    Point("proof spent", "http", "UPDATE", "payment_proofs", "NEW.state = 'spent'"),
    Point("use metered", "http", "INSERT", "usage_events", "NEW.request_id NOT LIKE 'smtp-%'"),
    Point("recipients counted", "http", "INSERT OR UPDATE", "cooldowns"),
    Point("letter handed in", "http", "INSERT", "send_attempts", "NEW.header_message_id NOT LIKE '<handed%'"),
    Point("answer kept", "http", "INSERT", "kept_answers"),
    Point("facts numbered", "worker", "INSERT", "fact_positions"),
    Point("hop claimed or settled", "worker", "UPDATE", "send_hops"),
    Point("delivery made", "worker", "INSERT", "webhook_deliveries"),
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
            name = f"faults_{number}_{side}"
            await database.execute(f"DROP TRIGGER IF EXISTS {name} ON {point.table}")
            await database.execute(
                f"{kind} {name} AFTER {point.event} ON {point.table} {late} "
                f"FOR EACH ROW WHEN ({point.when}) EXECUTE FUNCTION faults.gate({_lock(number, side)})"
            )


async def kill_at(machine: Machine, point: Point, side: str) -> bool:
    """Close the gate, wait until somebody stands before it, kill -9 whoever does, open it again.

    False if nobody came in time.
    """
    lock = _lock(POINTS.index(point), side)
    database = await machine.database()
    try:
        await database.execute("SELECT pg_advisory_lock($1, $2)", _KEY, lock)
        caught = await _caught(database, lock)
        family = machine.family(point.role) if caught else []
        # Their own process alone, if they have said which it is: the role's others go on meanwhile.
        await kill_all([pid for pid in family if f"pid {pid}" in caught] or family)
    finally:
        await database.close()  # which opens the gate
    return bool(caught)


async def kill_all(pids: list[int]) -> None:
    """SIGKILL; returns when they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.005)


async def _caught(database: asyncpg.Connection, lock: int) -> set[str]:
    """The names of those who wait at the gate."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while not (waiting := await database.fetch(_WAITING, _KEY, lock)):
                await asyncio.sleep(0.005)
            return {name for (name,) in waiting}
    return set()


def _lock(number: int, side: str) -> int:
    return 2 * number + SIDES.index(side)
