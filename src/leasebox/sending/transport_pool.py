"""Connections kept for the next mail the same way, for a few seconds."""

import asyncio
from collections import defaultdict
from typing import Final

from leasebox.sending.transport import Session

IDLE_S: Final = 10.0
"""Servers that mind idle clients count in minutes; we keep a place of theirs only while mail comes thick."""
MAILS: Final = 100
"""After so many a connection is given up: some servers count."""


class Pool:
    """Idle sessions by the key of their route; the one that was used last is used first."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._idle: dict[str, list[tuple[Session, asyncio.TimerHandle]]] = defaultdict(list)
        self._parting: set[asyncio.Task[None]] = set()

    def take(self, key: str) -> Session | None:
        """An open session, which is the caller's from now on."""
        waiting = self._idle.get(key, [])
        while waiting:
            session, timer = waiting.pop()
            timer.cancel()
            if session.is_open:
                return session
            session.close()
        return None

    def keep(self, key: str, session: Session) -> None:
        """Take a session that its caller is done with; one that is closed or worn out is not kept."""
        if not session.is_open or session.mails >= MAILS:
            self._part(session)
            return
        timer = asyncio.get_running_loop().call_later(self._idle_s, self._expire, key, session)
        self._idle[key].append((session, timer))

    async def close(self) -> None:
        """Part from all, within a second."""
        for waiting in self._idle.values():
            for session, timer in waiting:
                timer.cancel()
                self._part(session)
        self._idle.clear()
        if self._parting:
            await asyncio.wait(self._parting)

    def _expire(self, key: str, session: Session) -> None:
        self._idle[key] = [entry for entry in self._idle[key] if entry[0] is not session]
        if not self._idle[key]:
            del self._idle[key]
        self._part(session)

    def _part(self, session: Session) -> None:
        task = asyncio.get_running_loop().create_task(session.quit())
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)
