"""What the clients of a campaign did and were told, on disk before anybody relies on it."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

Entry = dict[str, Any]


class Journal:
    """Lines of JSON, each on disk (fsync) when `note` returns. Those that come together share one fsync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def note(self, what: str, **said: Any) -> None:
        """Write an entry with the present time (seconds, `at`)."""
        line = msgspec.json.encode({"at": time.time(), "what": what, **said}, enc_hook=str) + b"\n"
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await done

    def entries(self, what: str | None = None) -> Iterator[Entry]:
        """All that was written, oldest first, read from the file."""
        with self.path.open("rb") as file:
            for line in file:
                entry: Entry = msgspec.json.decode(line)
                if what is None or entry["what"] == what:
                    yield entry

    def close(self) -> None:
        os.close(self._file)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await asyncio.to_thread(self._to_disk, b"".join(line for line, _ in batch))
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    def _to_disk(self, lines: bytes) -> None:
        os.write(self._file, lines)
        os.fdatasync(self._file)
