"""Engines of a test module's own, which it may kill."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leasebox.infra.embedded import ALL, Engines, EngineUrls


class EngineRoom:
    """The engines, and what may befall them."""

    def __init__(self, engines: Engines, urls: EngineUrls) -> None:
        self._engines = engines
        self.database_url = urls.database_url or ""
        self.redis_url = urls.redis_url or ""

    def kill(self, name: str) -> None:
        """SIGKILL `postgres` or `valkey`, and wait until it is gone. It stays away until `revive`."""
        pid = self._engines.pids()[name]
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """The engine takes connections and never answers."""
        pid = self._engines.pids()[name]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    async def revive(self) -> float:
        """Start again what fell; after how many seconds that was done."""
        began, said = time.monotonic(), list[str]()
        async with asyncio.timeout(60):
            while not any("started again" in line for line in said):
                said += self._engines.tend()
                await asyncio.sleep(0.01)
        return time.monotonic() - began


@contextmanager
def opened_room(home: Path, *wanted: str) -> Iterator[EngineRoom]:
    """Engines that run until the block ends; `wanted` names them, else all."""
    engines = Engines(home, wanted=wanted or ALL)
    try:
        yield EngineRoom(engines, engines.start())
    finally:
        engines.stop()
