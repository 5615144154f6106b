"""PostgreSQL through one type: `Tx`, a borrowed connection inside a transaction.

Doors open the transaction with `Database.transact`, verbs borrow it (house rule 3). Hot verbs run literal SQL on the
raw asyncpg connection (one CTE costs 54-107 µs there, 290-680 µs through SQLAlchemy); SQLAlchemy Core declares the
tables (`metadata`), drives Alembic and compiles dynamic filters (`Tx.select`).

Where the task works for a tenant (`infra.wall`), the database shows and takes that tenant's rows only. A transaction
says so in the message of its BEGIN; of reads, those pay a round trip that find their connection behind another wall.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import asyncpg
import msgspec
from sqlalchemy import DDL, MetaData
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.sql import ClauseElement

from leasebox.infra import reach, wall
from leasebox.infra.lending import Lender
from leasebox.values.errors import Unavailable

T = TypeVar("T")
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)
# For a table whose column `content` holds whole mails: compressing them takes more CPU than storing them.
UNCOMPRESSED_CONTENT = DDL("ALTER TABLE %(table)s ALTER COLUMN content SET STORAGE EXTERNAL")  # type: ignore[no-untyped-call]
_DIALECT = dialect.dialect()  # type: ignore[no-untyped-call]
_RETRIES = 5
_PATIENCE_S = 5.0  # for a free connection of the pool
_RESTARTABLE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    # What the driver says of a connection whose server's last words it has not read yet.
    asyncpg.InternalClientError,
)
_CLOSED = re.compile("connection (is|was) closed|pool is clos|connection has been released|terminat")


class StorageFull(Unavailable):
    """503: the disk under the database is full; nothing was stored."""

    fix = "Nothing was stored; the operator must free disk space. Try again after the seconds in Retry-After."


class OutcomeUnknown(Unavailable):
    """503: PostgreSQL went away in the middle of a COMMIT, so it may have happened."""

    fix = (
        "It may have been done: look, or send it again with the same Idempotency-Key after the seconds in Retry-After."
    )


class Wake(msgspec.Struct, frozen=True):
    """A hint for listeners that something was committed; losing one costs at most a poll's delay."""

    channel: str
    payload: str


class Wakes(Protocol):
    """Where wake-ups go once a transaction has committed."""

    async def publish(self, wakes: Sequence[Wake]) -> None: ...


class Silence:
    """Publishes nothing: for processes that nobody listens to."""

    async def publish(self, wakes: Sequence[Wake]) -> None:
        del wakes


class Connection(asyncpg.Connection):
    """A connection that knows behind whose wall its session stands; None: it cannot say."""

    __slots__ = ("stands_behind",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stands_behind: str | None = wall.SYSTEM

    async def stand(self, behind: str) -> None:
        """Move the session behind a wall. Outside of transactions only: a rollback would move it back."""
        if self.stands_behind != behind:
            self.stands_behind = None
            await self.execute(f"SET {wall.SETTING} = '{behind}'")
            self.stands_behind = behind

    async def begin(self, behind: str) -> None:
        """Open a transaction behind a wall; its end takes the session back to where it stands."""
        local = "" if self.stands_behind == behind else f" SET LOCAL {wall.SETTING} = '{behind}'"
        try:
            await self.execute(f"BEGIN;{local}")
        except BaseException:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, *_GONE):
                await self.execute("ROLLBACK;")
            raise

    async def move(self, behind: str) -> None:
        """Move an open transaction behind another wall."""
        await self.execute(f"SET LOCAL {wall.SETTING} = '{behind}'")


class Tx:
    """A connection inside one transaction. Its methods take literal SQL with `$1` parameters."""

    __slots__ = ("_behind", "_connection", "_move", "wakes")

    def __init__(
        self, connection: Any, behind: str = wall.SYSTEM, move: Callable[[str], Awaitable[None]] | None = None
    ) -> None:
        self._connection = connection
        self._behind = behind
        self._move = move
        self.wakes: list[Wake] = []

    async def all(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """All rows."""
        rows: list[asyncpg.Record] = await self._connection.fetch(sql, *values)
        return rows

    async def one(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """The first row, or None."""
        row: asyncpg.Record | None = await self._connection.fetchrow(sql, *values)
        return row

    async def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._connection.fetchval(sql, *values)

    async def run(self, sql: str, *values: Any) -> int:
        """Execute; how many rows it touched."""
        tag: str = await self._connection.execute(sql, *values)
        last = tag.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute once for each row of values, all in one round trip."""
        await self._connection.executemany(sql, rows)

    async def select(self, statement: ClauseElement) -> list[asyncpg.Record]:
        """All rows of a SQLAlchemy Core statement: for filters that vary from call to call."""
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        order: Sequence[str] = compiled.positiontup or ()  # type: ignore[attr-defined]
        return await self.all(str(compiled), *(compiled.params[name] for name in order))

    @contextlib.asynccontextmanager
    async def across_tenants(self, why: str) -> AsyncIterator[None]:
        """A passage through the wall: the block's statements see and change rows of all tenants.

        why: for whoever reads the code; SECURITY.md counts the passages. Costs two round trips where a tenant's work
        passes through, none in the system's.
        """
        assert why
        if self._behind == wall.SYSTEM or self._move is None:
            yield
            return
        await self._move(wall.SYSTEM)
        inside, self._behind = self._behind, wall.SYSTEM
        try:
            yield
        except BaseException:
            # A transaction that cannot be moved back any more is lost, and takes no other statement.
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, *_GONE):
                await self._move(inside)
            raise
        finally:
            self._behind = inside
        await self._move(inside)

    def wake(self, channel: str, payload: str) -> None:
        """Publish a hint once this transaction has committed; nothing is sent if it does not."""
        self.wakes.append(Wake(channel, payload))


class Database:
    """A pool of connections for one process."""

    def __init__(self, pool: Any, wakes: Wakes, statement_cache: int = 256) -> None:
        self._lender = Lender(pool, _PATIENCE_S)
        self._wakes = wakes
        # Behind PgBouncer a session is anybody's between two transactions, so none may be left behind a wall.
        self._shares_sessions = statement_cache == 0

    async def transact(self, body: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `body` in one READ COMMITTED transaction, commit, then publish its wake-ups.

        A deadlock or serialization failure runs `body` again (at most 5 times), so it must be restartable.
        Raises Unavailable when PostgreSQL does not answer, OutcomeUnknown when it has heard COMMIT and does not answer
        any more, StorageFull when its disk is full.
        """
        return await self._patiently(body, _Transaction)

    async def at_once(self, body: Callable[[Tx], Awaitable[T]]) -> T:
        """The same for a body of one statement, which PostgreSQL commits by itself: one round trip instead of three.

        The statement is a verb of `migrations/sql` that puts up the wall of its own tenant. A second one is refused.
        """
        return await self._patiently(body, _Statement)

    async def _patiently(self, body: Callable[[Tx], Awaitable[T]], within: "type[_Scope]") -> T:
        for attempt in range(1, _RETRIES + 1):
            try:
                tx, answer = await self._attempt(body, within)
            except _RESTARTABLE:
                if attempt == _RETRIES:
                    raise Unavailable("Too many callers changed the same rows.", retry_after_s=1) from None
                await asyncio.sleep(0.002 * attempt)
            else:
                if tx.wakes:
                    await self._wakes.publish(tx.wakes)
                return answer
        raise AssertionError("unreachable")

    async def _attempt(self, body: Callable[[Tx], Awaitable[T]], within: "type[_Scope]") -> tuple[Tx, T]:
        done: list[tuple[Tx, T]] = []
        begun: list[_Scope] = []
        committed = False
        try:
            async with self._lender.loan() as connection:
                begun.append(within(connection))
                async with begun[0] as tx:
                    done.append((tx, await body(tx)))
                committed = True
        except asyncpg.DiskFullError as fault:
            raise StorageFull("The database's disk is full.", retry_after_s=30) from fault
        except (asyncpg.InterfaceError, *_GONE) as fault:
            if not committed:  # else it was lost on its way back into the pool, and what was done stays done
                unknown = any(scope.is_committing for scope in begun)
                raise _outage(fault, OutcomeUnknown if unknown else Unavailable) from fault
        return done[0]

    async def read(self, body: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `body` without BEGIN: each statement sees what is committed when it starts. Raises Unavailable.

        Behind PgBouncer a tenant's reads stand in a READ COMMITTED transaction, to the same effect.
        """
        behind = wall.current()
        try:
            async with self._lender.loan() as connection:
                if self._shares_sessions and behind != wall.SYSTEM:
                    async with _Transaction(connection) as tx:
                        return await body(tx)
                await connection.stand(behind)
                return await body(Tx(connection, behind, connection.stand))
        except (asyncpg.InterfaceError, *_GONE) as fault:
            raise _outage(fault) from fault

    async def revision(self) -> str | None:
        """The migration that the database is at, None when it is empty. Raises Unavailable."""
        try:
            return await self.read(lambda tx: tx.value("SELECT version_num FROM alembic_version"))
        except asyncpg.UndefinedTableError:
            return None

    async def climbs_the_wall(self) -> bool:
        """Whether row-level security does not hold for our role: a superuser, or one with BYPASSRLS."""
        return bool(await self.read(lambda tx: tx.value(reach.CLIMBS)))

    async def close(self) -> None:
        """Wait for borrowed connections, then close all."""
        await self._lender.close()


async def connect(url: str, *, wakes: Wakes | None = None, at_most: int = 10, statement_cache: int = 256) -> Database:
    """Open a pool that grows from 1 to `at_most` connections. Raises Unavailable when nobody answers.

    `statement_cache=0` is for PgBouncer in transaction mode.
    """
    # In an outage the pool would log a trace a second; our own callers tell of it in a line each.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=at_most,
            connection_class=Connection,
            init=_teach_json,
            reset=_leave_as_it_is,
            command_timeout=30,
            timeout=5,
            statement_cache_size=statement_cache,
            max_inactive_connection_lifetime=60,
        )
    except (*_GONE, asyncpg.PostgresError) as fault:
        raise Unavailable(f"The database does not answer: {type(fault).__name__}.", retry_after_s=2) from fault
    return Database(pool, wakes or Silence(), statement_cache)


class _Scope(Protocol):
    """What is committed at the end of a block. is_committing: if the connection is lost now, nobody knows the end."""

    is_committing: bool

    def __init__(self, connection: Any) -> None: ...

    async def __aenter__(self) -> Tx: ...

    async def __aexit__(self, kind: type[BaseException] | None, *told: object) -> None: ...


class _Transaction:
    """A transaction behind the wall of this task: committed at the end of the block, undone if that raises."""

    __slots__ = ("_connection", "is_committing")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.is_committing = False

    async def __aenter__(self) -> Tx:
        behind = wall.current()
        await self._connection.begin(behind)
        return Tx(self._connection, behind, self._connection.move)

    async def __aexit__(self, kind: type[BaseException] | None, *told: object) -> None:
        del told
        self.is_committing = kind is None
        await self._connection.execute("COMMIT;" if kind is None else "ROLLBACK;")


class _Statement:
    """One statement without BEGIN, which is committed when it ends and undone if it raises."""

    __slots__ = ("_connection", "is_committing")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.is_committing = False

    async def __aenter__(self) -> Tx:
        return Tx(self)

    async def __aexit__(self, kind: type[BaseException] | None, *told: object) -> None:
        """Nothing is open any more."""

    def __getattr__(self, name: str) -> Any:
        # The connection's own, for one statement.
        assert not self.is_committing, "a second statement would be a second transaction"
        # One that was lost while it lay in the pool refuses by itself, and then nothing is on its way.
        self.is_committing = not self._connection.is_closed()
        return getattr(self._connection, name)


def _outage(fault: Exception, kind: type[Unavailable] = Unavailable) -> Exception:
    # asyncpg reports a connection lost under us and a mistake of ours (a wrong parameter) by the same class.
    if isinstance(fault, asyncpg.InterfaceError) and not _CLOSED.search(str(fault)):
        return fault
    return kind("The database does not answer.", retry_after_s=2)


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + msgspec.json.encode(value, enc_hook=str)


def _decode_jsonb(value: bytes) -> Any:
    return msgspec.json.decode(value[1:])


async def _leave_as_it_is(connection: Any) -> None:
    """On its way back into the pool a connection is rolled back, if it must be, and no more.

    By default asyncpg also asks the server to forget session settings, locks and cursors, which costs a round trip each
    time; we leave none of these behind (tests/infra/test_db.py).
    """


async def _teach_json(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
    )
