"""What the worker seals anew by itself after the master key was changed, and what it complains of."""

import asyncio
from pathlib import Path

import structlog.testing

from leasebox.infra.reseal import standing
from leasebox.leases.domains_jobs import ensure_own_keys
from leasebox.tables import metadata
from leasebox.wiring.domains import dkim_keys
from leasebox.wiring.secrets import lasting_tables, mind_seals, sealed_tables
from tests.fakes.clock import FakeClock
from tests.kit import SECRET, House, opened, settings_for

NEWER = "another master key that only tests use, 40+"


def test_every_table_that_names_a_key_is_among_them(house: House) -> None:
    """Claims name none: they are sealed with their own tokens."""
    named = {table.name for table in metadata.tables.values() if "kid" in table.columns}
    tables = sealed_tables(house.settings)
    assert {table.name for table in tables} == named
    assert {table.name for table in lasting_tables(house.settings)} == named - {"kept_answers"}
    assert len({table.keys.current.kid for table in tables}) == 3, "a key of its own for each"


async def minded(house: House) -> list[str]:
    """What is said at the job's first look."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, stop.set)
    with structlog.testing.capture_logs() as said:
        await mind_seals(house.settings, house.base, stop)
    return [line["event"] for line in said if line["log_level"] == "error"]


async def test_the_worker_seals_anew_while_the_key_before_is_at_hand(
    house: House, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await ensure_own_keys(house.db, dkim_keys(house.settings), ["ours.test"], house.clock)
    assert await minded(house) == []
    changed = {"LEASEBOX_SECRET": NEWER, "LEASEBOX_SECRET_PREVIOUS": SECRET}
    without = settings_for(database_url, redis_url, str(tmp_path), LEASEBOX_SECRET=NEWER)
    async with opened(without, FakeClock()) as bereft:
        assert await minded(bereft) == ["rows are sealed with a master key that is not at hand"]
    async with opened(settings_for(database_url, redis_url, str(tmp_path), **changed), FakeClock()) as after:
        assert await minded(after) == []
        found = await after.db.read(lambda tx: standing(tx, lasting_tables(after.settings)[0]))
        assert (found.current, found.previous) == (2, 0)
    async with opened(without, FakeClock()) as later:
        assert await minded(later) == []
