"""Connections that come back sound lie at hand for the next borrower, who pays neither a task nor a timer for them.

asyncpg's pool spends about 40 µs on each loan: it gives a connection back in a task of its own, shielded, and starts
and stops a timer. It still makes, counts and closes them: what nobody borrows goes back to it after some seconds.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Any

import asyncpg

_AT_HAND_S = 5.0


class Lender:
    """Lends the connections of a pool. patience_s: how long a borrower waits for one."""

    def __init__(self, pool: Any, patience_s: float) -> None:
        self._pool = pool
        self._patience_s = patience_s
        self._at_hand: list[Any] = []
        self._waiting = 0
        self._tidying: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    def loan(self) -> "_Loan":
        """A context that holds a connection. Raises TimeoutError when all stay lent, and as asyncpg does."""
        return _Loan(self)

    async def borrow(self) -> Any:
        """A connection, to be handed to `keep` or to `give_back` afterwards."""
        while self._at_hand:
            connection = self._at_hand.pop()
            if _is_sound(connection):
                return connection
            await self._pool.release(connection)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=self._patience_s)
        finally:
            self._waiting -= 1

    def keep(self, connection: Any) -> bool:
        """Lay a connection at hand. False, and nothing done, where somebody waits for the pool or it is not sound."""
        if self._waiting or not _is_sound(connection) or connection.is_in_transaction():
            return False
        self._at_hand.append(connection)
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(_AT_HAND_S, self._tidy)
        return True

    async def give_back(self, connection: Any) -> None:
        """Let the pool have a connection, in whatever state it is."""
        await self._pool.release(connection)

    async def close(self) -> None:
        """Wait for what is lent, then close all."""
        if self._tidying is not None:
            self._tidying.cancel()
        # Those lent come back to the pool from now on.
        self._waiting += 1
        self._tidy()
        await asyncio.gather(*self._returning, return_exceptions=True)
        await self._pool.close()

    def _tidy(self) -> None:
        self._tidying = None
        idle, self._at_hand = self._at_hand, []
        for connection in idle:
            task = asyncio.ensure_future(self._pool.release(connection))
            self._returning.add(task)
            task.add_done_callback(self._returned)

    def _returned(self, task: "asyncio.Task[None]") -> None:
        self._returning.discard(task)
        # One that was lost on its way is replaced by the pool; nobody waits for word of it.
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()


class _Loan:
    """A class: `asynccontextmanager` costs some microseconds more."""

    __slots__ = ("_connection", "_lender")

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._connection: Any = None

    async def __aenter__(self) -> Any:
        self._connection = await self._lender.borrow()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or not self._lender.keep(self._connection):
            await self._lender.give_back(self._connection)


def _is_sound(connection: Any) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # it died, and the pool has taken it back by itself
        return False
