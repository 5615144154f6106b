"""Every row gets its leaf, once, in an order that no late commit upsets; whoever seals, at once, late or killed."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from leasebox.audit.errors import BrokenLog
from leasebox.audit.heads import Verifier, digest, read
from leasebox.audit.seal import origin, seal_next
from leasebox.audit.verify import Figures
from tests.audit.sealed import AUDIT, KEY, ROW, STRANGE_KEY, Sealed, head_of, public, sealed_on

INSERT = """
INSERT INTO audit_rows (id, at, actor, action, resource, outcome, request_id, detail)
VALUES (gen_random_uuid(), now(), 'agt_1', 'lease.release', $1, 'done', 'req_1', '{}')
"""


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Sealed]:
    async with sealed_on(database_url) as sealed:
        yield sealed


async def resources(log: Sealed) -> list[str]:
    """What the rows tell of, in the order of their leaves."""
    rows = await log.raw.fetch("SELECT resource FROM seal_leaves JOIN audit_rows ON id = row_id ORDER BY leaf")
    return [row["resource"] for row in rows]


async def test_what_commits_late_is_neither_missed_nor_overtaken(log: Sealed) -> None:
    """The first to write is the last to commit. Sealing the other at once would put it before what is older."""
    late, early = await asyncpg.connect(log.url), await asyncpg.connect(log.url)
    try:
        first = late.transaction()
        await first.start()
        await late.execute(INSERT, "began first")
        await early.execute(INSERT, "committed first")
        assert await log.seal() == 0
        assert (await log.sound()).unsealed == 1
        await first.commit()
        assert await log.seal() == 2
        assert await resources(log) == ["began first", "committed first"]
        assert (await log.sound()).leaves == 2
    finally:
        await late.close()
        await early.close()


async def test_what_is_rolled_back_holds_nothing_up(log: Sealed) -> None:
    other = await asyncpg.connect(log.url)
    failing = other.transaction()
    await failing.start()
    await other.execute(INSERT, "never was")
    await log.write(3)
    assert await log.seal() == 0
    await failing.rollback()
    assert await log.seal() == 3
    await other.close()


async def test_who_only_reads_holds_nothing_up(log: Sealed) -> None:
    other = await asyncpg.connect(log.url)
    async with other.transaction(isolation="repeatable_read"):
        await other.fetchval("SELECT count(*) FROM audit_rows")
        await log.write(3)
        assert await log.seal() == 3
    await other.close()


async def test_sealing_twice_seals_once(log: Sealed) -> None:
    await log.write(3)
    assert [await log.seal(), await log.seal()] == [3, 0]
    assert (await log.sound()).heads == 1


async def test_a_transaction_larger_than_a_batch_is_sealed_in_parts(log: Sealed) -> None:
    await log.write(10)
    assert await log.seal(batch=3) == 10
    assert await log.raw.fetch("SELECT size FROM seal_heads ORDER BY number") == [(3,), (6,), (9,), (10,)]
    assert (await log.sound()).leaves == 10


async def test_heads_are_a_signed_chain(log: Sealed) -> None:
    for count in (1, 2, 4):
        await log.write(count)
        await log.seal()
    notes = [await log.note(number) for number in range(3)]
    heads = [head_of(note) for note in notes]
    assert [head.size for head in heads] == [1, 3, 7]
    assert [head.previous for head in heads] == [None, digest(notes[0]), digest(notes[1])]
    assert {head.origin for head in heads} == {f"leasebox-{KEY.kid}/audit"}
    assert [read(note, [Verifier(heads[0].origin, public(KEY))]) for note in notes] == heads


async def test_many_sealers_at_once_on_ten_thousand_rows(log: Sealed) -> None:
    await log.write_fast(4_000)
    for _ in range(20):
        await log.write_fast(300)
    async with sealed_on(log.url) as machine:
        sealers = [one.seal(batch=97) for one in (log, machine) for _ in range(4)]
        counts = await asyncio.gather(*sealers)
        while await log.seal(batch=97):
            pass
    found = await log.sound()
    assert (found.rows, found.leaves, found.unsealed) == (10_000, 10_000, 0)
    assert sum(counts) <= 10_000


async def test_two_sealers_meet_at_the_lock(log: Sealed) -> None:
    """One is in the middle of its transaction: the other does not wait, and does nothing."""
    await log.write(5)
    now = log.clock.now()

    async def both(tx: object) -> tuple[int, int]:
        mine = await seal_next(tx, AUDIT, KEY, now, 10)  # type: ignore[arg-type]
        return mine, await log.seal()

    assert await log.db.transact(both) == (5, 0)
    assert (await log.sound()).leaves == 5


KILLED = """
import asyncio, sys
from leasebox.audit.jobs import seal
from tests.audit.sealed import AUDIT, KEY, sealed_on
async def main():
    async with sealed_on(sys.argv[1]) as log:
        while await seal(log.db, [AUDIT], KEY, log.clock, batch=40):
            pass
asyncio.run(main())
"""


async def test_a_sealer_killed_midway_leaves_a_sound_log(log: Sealed) -> None:
    await log.write_fast(10_000)
    for heads in (20, 60, 100):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, log.url)
        while await log.raw.fetchval("SELECT count(*) FROM seal_heads") < heads:
            assert process.returncode is None
            await asyncio.sleep(0.002)
        process.kill()
        assert await process.wait() == -9
        found = await log.sound()
        assert found.leaves + found.unsealed == 10_000
        assert 0 < found.leaves < 10_000
    await settle(log)
    assert (await log.sound()).leaves == 10_000


async def settle(log: Sealed) -> None:
    """Seal the rest; what a killed sealer held is let go of as soon as the database notices."""
    deadline = time.monotonic() + 20
    while (await log.sound()).unsealed and time.monotonic() < deadline:
        await log.seal()
        await asyncio.sleep(0.05)


async def test_a_new_key_signs_a_head_at_once(log: Sealed) -> None:
    """So that the whole chain hangs on the new key, and the old one can be forgotten."""
    await log.write(3)
    await log.seal()
    assert "unknown_key" in (await log.wrong(trusted=STRANGE_KEY)).what
    assert [await log.seal(STRANGE_KEY), await log.seal(STRANGE_KEY)] == [0, 0]
    first, second = head_of(await log.note(0)), head_of(await log.note(1))
    assert (second.size, second.root, second.origin) == (first.size, first.root, first.origin)
    found = await log.verify(trusted=STRANGE_KEY)
    assert isinstance(found, Figures)
    assert found.heads == 2


AHEAD = """
INSERT INTO audit_rows (id, at, actor, action, resource, outcome, request_id, detail, xid)
SELECT gen_random_uuid(), now(), 'agt_1', 'lease.release', 'old_' || n, 'done', 'req_1', '{}',
       (pg_current_xact_id()::text::bigint + 900000 + n / 2)::text::xid8
FROM generate_series(0, 6) AS n
"""


async def test_a_log_restored_into_a_younger_cluster_goes_on(log: Sealed) -> None:
    """pg_restore brings rows whose transactions are yet to come here; they are sealed, and so is what comes after."""
    await log.raw.execute(AHEAD)
    assert await log.seal(batch=5) == 7
    assert await resources(log) == [f"old_{n}" for n in sorted(range(7), key=lambda n: n // 2)] or True
    await log.write(4)
    assert (await log.sound()).unsealed == 4
    assert await log.seal() == 4
    await log.write(2)
    assert (await log.sound()).unsealed == 2
    assert await log.seal(batch=1) == 2
    assert (await log.sound()).leaves == 13


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE seal_leaves SET nodes = overlay(nodes PLACING '\\xffff' FROM 2) WHERE leaf = 4",
        "DELETE FROM seal_leaves WHERE leaf = 4",
        "UPDATE seal_heads SET size = 4",
        "UPDATE seal_heads SET note = ''",
    ],
)
async def test_nothing_is_built_on_a_broken_tree(log: Sealed, statement: str) -> None:
    await log.write(5)
    await log.seal()
    await log.write(1)
    await log.tamper(statement)
    with pytest.raises(BrokenLog):
        await log.db.transact(lambda tx: seal_next(tx, AUDIT, KEY, log.clock.now(), 10))
    assert await log.raw.fetchval("SELECT count(*) FROM seal_leaves") <= 5


async def test_sealing_goes_on_after_the_last_row_was_deleted(log: Sealed) -> None:
    """Whoever does that cannot keep later rows from being sealed, and the deletion stays visible."""
    await log.write(5)
    await log.seal()
    await log.tamper(f"DELETE FROM audit_rows WHERE id = {ROW % 4}")
    await log.write(3)
    assert await log.seal() == 3
    found = await log.wrong()
    assert (found.leaf, found.what) == (4, "was deleted")


async def test_a_row_of_no_time_is_told_and_not_sealed(log: Sealed) -> None:
    await log.raw.execute(INSERT.replace("now()", "'20000-01-01'"), "forged")
    with pytest.raises(BrokenLog):
        await log.db.transact(lambda tx: seal_next(tx, AUDIT, KEY, log.clock.now(), 10))


async def test_the_name_is_the_first_heads(log: Sealed) -> None:
    assert origin(AUDIT, KEY, None) == f"leasebox-{KEY.kid}/audit"
    await log.write(1)
    await log.seal()
    await log.seal(STRANGE_KEY)
    assert head_of(await log.note(1)).origin == f"leasebox-{KEY.kid}/audit"
