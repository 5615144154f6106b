"""Transactions on real PostgreSQL: run again when they must be, heard of once committed, and honest in an outage."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, select

from leasebox.infra import db
from leasebox.infra.db import Database, OutcomeUnknown, StorageFull, Tx, Wake
from leasebox.infra.lending import Lender
from leasebox.values.errors import Unavailable
from leasebox.values.ids import LeaseId
from tests.infra.engine_room import EngineRoom, opened_room

rows = Table("rows", MetaData(), Column("id", Integer, primary_key=True), Column("word", Text))
_SETUP = """
CREATE TABLE rows (id int PRIMARY KEY, word text);
INSERT INTO rows SELECT n, 'w' || n FROM generate_series(1, 9) n
"""


class Heard:
    """Where wake-ups go in these tests; `look` sees what is committed at that moment."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.wakes: list[Wake] = []
        self.seen: list[int] = []

    async def publish(self, wakes: Sequence[Wake]) -> None:
        other = await asyncpg.connect(self.url)
        self.seen.append(await other.fetchval("SELECT count(*) FROM rows"))
        await other.close()
        self.wakes += wakes


@pytest.fixture
async def heard(database_url: str) -> Heard:
    return Heard(database_url)


@pytest.fixture
async def store(database_url: str, heard: Heard) -> AsyncIterator[Database]:
    opened = await db.connect(database_url, wakes=heard, at_most=4)
    await opened.transact(lambda tx: tx.run(_SETUP))
    yield opened
    await opened.close()


async def count(store: Database) -> int:
    return int(await store.read(lambda tx: tx.value("SELECT count(*) FROM rows")))


async def test_what_a_body_did_is_committed_or_undone_as_a_whole(store: Database) -> None:
    assert await store.transact(lambda tx: tx.run("DELETE FROM rows WHERE id < 3")) == 2

    async def fails(tx: Tx) -> None:
        await tx.run("DELETE FROM rows")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await store.transact(fails)
    assert await count(store) == 7


async def test_many_rows_are_one_round_trip_and_part_of_the_transaction(store: Database) -> None:
    async def body(tx: Tx) -> int:
        await tx.run("CREATE TEMPORARY TABLE many (n int) ON COMMIT DROP")
        await tx.many("INSERT INTO many SELECT $1", [(number,) for number in range(5)])
        await tx.many("INSERT INTO many SELECT $1", [])
        return int(await tx.value("SELECT sum(n) FROM many"))

    assert await store.transact(body) == 10


async def test_wake_ups_follow_the_commit(store: Database, heard: Heard) -> None:
    async def body(tx: Tx) -> None:
        tx.wake("mailbox", "mbx_1")
        await tx.run("DELETE FROM rows WHERE id = 1")
        tx.wake("parser", "")

    await store.transact(body)
    assert heard.wakes == [Wake("mailbox", "mbx_1"), Wake("parser", "")]
    assert heard.seen == [8], "who was woken saw the rows as they are after the commit"


async def test_nobody_is_woken_by_what_did_not_happen(store: Database, heard: Heard) -> None:
    async def body(tx: Tx) -> None:
        tx.wake("mailbox", "mbx_1")
        await tx.run("INSERT INTO rows VALUES (1, 'twice')")

    with pytest.raises(asyncpg.UniqueViolationError):
        await store.transact(body)
    assert heard.wakes == []


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_transaction_that_had_to_give_way_runs_again_from_its_start(
    store: Database, heard: Heard, code: str
) -> None:
    lives = []

    async def body(tx: Tx) -> str:
        lives.append(await tx.run("DELETE FROM rows WHERE id = 5"))
        tx.wake("mailbox", f"life {len(lives)}")
        if len(lives) < 3:
            await tx.run(f"DO $$ BEGIN RAISE EXCEPTION 'give way' USING ERRCODE = '{code}'; END $$")
        return "done"

    assert await store.transact(body) == "done"
    assert lives == [1, 1, 1], "each life found the row again, so the lives before it were undone"
    assert heard.wakes == [Wake("mailbox", "life 3")]


async def test_it_gives_up_after_five_lives_and_says_try_again(store: Database) -> None:
    lives = []

    async def body(tx: Tx) -> None:
        lives.append(1)
        await tx.run("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$")

    with pytest.raises(Unavailable) as refused:
        await store.transact(body)
    assert (len(lives), refused.value.retry_after_s) == (5, 1)


async def test_both_sides_of_a_real_deadlock_come_through(store: Database) -> None:
    met = asyncio.Barrier(2)
    lives = []

    async def crossing(first: int, second: int) -> None:
        async def body(tx: Tx) -> None:
            lives.append(first)
            await tx.run("UPDATE rows SET word = word || $2 WHERE id = $1", first, "x")
            if len(lives) <= 2:
                await met.wait()
            await tx.run("UPDATE rows SET word = word || $2 WHERE id = $1", second, "x")

        await store.transact(body)

    await asyncio.gather(crossing(1, 2), crossing(2, 1))
    assert len(lives) == 3, "one of the two ran twice"
    words = await store.read(lambda tx: tx.all("SELECT word FROM rows WHERE id <= 2 ORDER BY id"))
    assert [row["word"] for row in words] == ["w1xx", "w2xx"]


async def test_a_serialization_failure_is_settled_by_a_second_life(store: Database) -> None:
    lives = []

    async def increment(tx: Tx) -> None:
        lives.append(1)
        await tx.run("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        total = await tx.value("SELECT sum(id) FROM rows")
        await asyncio.sleep(0.05)
        await tx.run("INSERT INTO rows VALUES ($1, 'sum')", int(total))

    await asyncio.gather(*(store.transact(increment) for _ in range(3)))
    assert len(lives) > 3
    assert await count(store) == 12


async def test_a_full_disk_is_told_as_such(store: Database) -> None:
    with pytest.raises(StorageFull) as refused:
        await store.transact(
            lambda tx: tx.run("DO $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$")
        )
    assert refused.value.code == "unavailable"
    assert refused.value.retry_after_s == 30
    assert await count(store) == 9


@pytest.mark.parametrize("code", ["53200", "53300", "57014", "57P01", "57P03", "08006"])
async def test_trouble_of_the_server_is_503(store: Database, code: str) -> None:
    sql = f"DO $$ BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '{code}'; END $$"
    for verb in (store.transact, store.read):
        with pytest.raises(Unavailable) as refused:
            await verb(lambda tx: tx.run(sql))
        assert refused.value.retry_after_s


@pytest.mark.parametrize(
    ("sql", "values", "fault"),
    [
        ("SELEC 1", (), asyncpg.PostgresSyntaxError),
        ("SELECT * FROM nowhere", (), asyncpg.UndefinedTableError),
        ("SELECT $1::int", ("seven",), asyncpg.DataError),
        ("SELECT $1::int", (), asyncpg.InterfaceError),
        ("SELECT 1 / 0", (), asyncpg.DivisionByZeroError),
        ("INSERT INTO rows VALUES (1, 'twice')", (), asyncpg.UniqueViolationError),
    ],
)
async def test_a_mistake_of_ours_is_no_outage(
    store: Database, sql: str, values: tuple[object, ...], fault: type[Exception]
) -> None:
    for verb in (store.transact, store.read):
        with pytest.raises(fault) as raised:
            await verb(lambda tx: tx.all(sql, *values))
        assert not isinstance(raised.value, Unavailable)
    assert await count(store) == 9, "and the connection is as good as before"


async def test_two_statements_at_once_on_one_transaction_are_our_mistake(store: Database) -> None:
    async def body(tx: Tx) -> None:
        await asyncio.gather(tx.value("SELECT pg_sleep(0.05)"), tx.value("SELECT 1"))

    with pytest.raises(asyncpg.InterfaceError, match="another operation"):
        await store.transact(body)


async def test_no_connection_left_is_503_and_passes(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "_PATIENCE_S", 0.1)
    release = asyncio.Event()

    async def hold(tx: Tx) -> None:
        await tx.value("SELECT 1")
        await release.wait()

    holders = [asyncio.create_task(store.transact(hold)) for _ in range(4)]
    await asyncio.sleep(0.05)
    for verb in (store.transact, store.read):
        with pytest.raises(Unavailable):
            await verb(lambda tx: tx.value("SELECT 1"))
    release.set()
    await asyncio.gather(*holders)
    assert await count(store) == 9


async def test_a_connection_killed_under_us_is_503_once(store: Database, heard: Heard) -> None:
    async def body(tx: Tx) -> None:
        pid = await tx.value("SELECT pg_backend_pid()")
        await tx.run("DELETE FROM rows")
        async with asyncio.timeout(5):
            killer = await asyncpg.connect(heard.url)
            await killer.execute("SELECT pg_terminate_backend($1)", pid)
            await killer.close()
        await tx.run("SELECT 1")

    with pytest.raises(Unavailable):
        await store.transact(body)
    assert await count(store) == 9


_AT_COMMIT = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON rows DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION slowly()
"""


async def test_a_connection_lost_in_a_commit_leaves_open_what_became_of_it(store: Database) -> None:
    """Nobody says `nothing was done`, for here it was."""
    await store.transact(lambda tx: tx.run(_AT_COMMIT))

    async def body(tx: Tx) -> None:
        await tx.run("INSERT INTO rows VALUES (10)")
        asyncio.get_running_loop().call_later(0.1, tx._connection._con._transport.abort)

    with pytest.raises(OutcomeUnknown) as told:
        await store.transact(body)
    assert "Nothing was done" not in told.value.fix
    await asyncio.sleep(0.5)
    assert await count(store) == 10


async def test_a_connection_lost_before_the_commit_is_told_as_such(store: Database) -> None:
    async def body(tx: Tx) -> None:
        await tx.run("INSERT INTO rows VALUES (10)")
        tx._connection._con._transport.abort()
        await tx.value("SELECT 1")

    with pytest.raises(Unavailable) as told:
        await store.transact(body)
    assert not isinstance(told.value, OutcomeUnknown)
    assert await count(store) == 9


async def test_a_statement_whose_connection_is_lost_leaves_open_what_became_of_it(store: Database) -> None:
    async def body(tx: Tx) -> None:
        connection = tx._connection._connection._con
        asyncio.get_running_loop().call_later(0.1, connection._transport.abort)
        await tx.run("INSERT INTO rows SELECT 10 FROM pg_sleep(0.3)")

    with pytest.raises(OutcomeUnknown):
        await store.at_once(body)
    await asyncio.sleep(0.5)
    assert await count(store) == 10


async def test_a_statement_for_a_connection_that_was_lost_before_was_never_sent(store: Database) -> None:
    async def body(tx: Tx) -> None:
        tx._connection._connection._con._transport.abort()
        await asyncio.sleep(0.05)
        await tx.run("INSERT INTO rows VALUES (10)")

    with pytest.raises(Unavailable) as told:
        await store.at_once(body)
    assert not isinstance(told.value, OutcomeUnknown)
    assert await count(store) == 9


async def test_a_second_statement_at_once_is_our_mistake(store: Database) -> None:
    async def body(tx: Tx) -> None:
        await tx.value("SELECT 1")
        await tx.value("SELECT 2")

    with pytest.raises(AssertionError, match="second transaction"):
        await store.at_once(body)


async def test_a_connection_lost_after_the_commit_does_not_undo_the_answer(
    store: Database, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(tx: Tx) -> str:
        await tx.run("INSERT INTO rows VALUES (10)")
        tx.wake("mailbox", "1")
        return "done"

    async def lost(connection: asyncpg.Connection, **_: object) -> None:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "reset", lost)
        patch.setattr(Lender, "keep", lambda *_: False)
        assert await store.transact(body) == "done"
    assert heard.wakes == [Wake("mailbox", "1")]
    assert await count(store) == 10


async def test_going_back_into_the_pool_costs_no_round_trip(store: Database, heard: Heard) -> None:
    pid = await store.transact(lambda tx: tx.value("SELECT pg_backend_pid()"))
    other = await asyncpg.connect(heard.url)
    assert await other.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid) == "COMMIT;"
    await other.close()


async def test_a_connection_comes_back_without_what_the_one_before_left(store: Database) -> None:
    async def body(tx: Tx) -> None:
        await tx.value("SELECT set_config('work_mem', '77MB', true), pg_advisory_xact_lock(7)")
        raise KeyError("gone wrong")

    for _ in range(3):
        with pytest.raises(KeyError):
            await store.transact(body)
    assert await store.read(lambda tx: tx.value("SHOW work_mem")) != "77MB"
    assert await store.read(lambda tx: tx.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) == 0


def test_no_statement_of_ours_outlives_its_transaction() -> None:
    """Connections go back into the pool as they are: settings and locks of a session would reach the next one."""
    locks = r"pg_(?:try_)?advisory_lock(?:_shared)?\(|set_config\([^)]*false\)"
    lasting = re.compile(rf"{locks}|(?m:^\s*\"?)(?:SET (?!LOCAL)|LISTEN |DECLARE )")
    sources = Path(db.__file__).parents[1]
    found = [str(path) for path in sources.rglob("*store.py") if lasting.search(_without_updates(path.read_text()))]
    assert found == []
    assert lasting.search("SELECT pg_advisory_lock(1)")


def _without_updates(text: str) -> str:
    """SQL whose lines may begin with the SET of an UPDATE."""
    return re.sub(r"(?s)\bUPDATE\b.*?\bSET\b", "", text)


async def test_connections_that_died_while_idle_are_replaced_unnoticed(store: Database, heard: Heard) -> None:
    await asyncio.gather(*(store.read(lambda tx: tx.value("SELECT pg_sleep(0.05)")) for _ in range(4)))
    killer = await asyncpg.connect(heard.url)
    await killer.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await killer.close()
    await asyncio.sleep(0.05)
    assert await count(store) == 9


async def test_filters_that_vary_are_compiled(store: Database) -> None:
    statement = (
        select(rows.c.id, func.upper(rows.c.word).label("word")).where(rows.c.id.in_([3, 1])).order_by(rows.c.id)
    )
    found = await store.read(lambda tx: tx.select(statement))
    assert [tuple(row) for row in found] == [(1, "W1"), (3, "W3")]
    word = "w2'; DROP TABLE rows; --"
    assert await store.read(lambda tx: tx.select(select(rows).where(rows.c.word == word))) == []
    assert await store.read(lambda tx: tx.select(select(rows).where(rows.c.id.in_([])))) == []


async def test_a_statement_says_how_many_rows_it_touched(store: Database) -> None:
    assert await store.transact(lambda tx: tx.run("UPDATE rows SET word = 'x' WHERE id > 4")) == 5
    assert await store.transact(lambda tx: tx.run("CREATE TABLE other (id int)")) == 0
    assert await store.read(lambda tx: tx.one("SELECT id FROM rows WHERE id = 77")) is None


@pytest.mark.parametrize(
    "value",
    [{}, [], None, True, 2**63 - 1, -0.5, "ü 漢 \U0001f600", {"a": [{"b": None}]}, {"": "\\u0000"}],
)
async def test_json_comes_back_as_it_went_in(store: Database, value: object) -> None:
    assert await store.read(lambda tx: tx.value("SELECT $1::jsonb", value)) == value


async def test_ids_and_times_in_json_are_their_text(store: Database) -> None:
    lease_id, at = LeaseId.new(datetime(2026, 11, 20, tzinfo=UTC)), datetime(2026, 11, 20, tzinfo=UTC)
    found = await store.read(lambda tx: tx.value("SELECT $1::jsonb", {"id": lease_id, "at": at}))
    assert found["at"] == "2026-11-20T00:00:00Z"
    assert LeaseId.of(LeaseId(found["id"])) == lease_id


async def test_an_unmigrated_database_is_at_no_revision(store: Database) -> None:
    assert await store.revision() is not None
    await store.transact(lambda tx: tx.run("DROP TABLE alembic_version"))
    assert await store.revision() is None


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineRoom]:
    with opened_room(tmp_path_factory.mktemp("room") / "home", "postgres") as opened:
        yield opened


async def test_a_server_that_stops_is_503_until_it_is_back(room: EngineRoom) -> None:
    store = await db.connect(room.database_url, at_most=3)
    await store.transact(lambda tx: tx.run("CREATE TABLE kept AS SELECT 7 AS n"))

    async def sleeps(tx: Tx) -> None:
        await tx.run("UPDATE kept SET n = 8")
        await tx.value("SELECT pg_sleep(30)")

    under_way = asyncio.create_task(store.transact(sleeps))
    await asyncio.sleep(0.1)
    room.kill("postgres")
    began = time.monotonic()
    for verb in (store.transact, store.read):
        with pytest.raises(Unavailable):
            await verb(lambda tx: tx.value("SELECT 1"))
    with pytest.raises(Unavailable):
        await under_way
    assert time.monotonic() - began < 5
    await room.revive()
    began = time.monotonic()
    while True:
        try:
            assert await store.read(lambda tx: tx.value("SELECT n FROM kept")) == 7
            break
        except Unavailable:
            await asyncio.sleep(0.05)
    assert time.monotonic() - began < 10
    await store.close()


async def test_nobody_there_or_a_wrong_password_is_503_without_the_password(room: EngineRoom) -> None:
    wrong = room.database_url.replace("//leasebox:", "//leasebox:c4n4ry")
    for url in (wrong, "postgresql://u:c4n4ry@127.0.0.1:1/d", room.database_url.replace("/leasebox?", "/c4n4ry?")):
        with pytest.raises(Unavailable) as refused:
            await db.connect(url)
        assert "c4n4ry" not in str(refused.value)
