"""Reading mails off the event loop under a bound of CPU, memory and time, so that a mailbomb slows nobody else.

Small mails are read on the spot: their worst case is known and short. All others go to worker processes, which start
when first needed, die when a mail is too much for them, and end when idle.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import Final

import msgspec

from leasebox.infra import log
from leasebox.mail.model import SMALL_OCTETS
from leasebox.mail.parse_worker import FRAME, Reading, read, unreadable
from leasebox.values.errors import Unavailable

INLINE_BYTES: Final = 16 * 1024
"""Mails up to this size are always read on the event loop: 20 ms in the worst case measured, mostly below 1 ms."""
INLINE_COLD_BYTES: Final = SMALL_OCTETS
"""The same while no worker lives: 60 ms in the worst case measured, but starting a worker takes 150."""
ANSWER_BYTES: Final = 256 * 1024 * 1024
WALL_FACTOR: Final = 5.0
"""Wall time allowed for each second of CPU: a loaded machine is no fault of the mail's."""
_LAST_WORDS_S: Final = 2.0
# Workers read what strangers wrote, so they get no secret of ours.
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL")
_DECODER: Final = msgspec.msgpack.Decoder(Reading)


class ParsePool:
    """Reads mails, at most `workers` large ones at a time.

    cpu_seconds: CPU for one mail in a worker. memory_bytes: address space of a worker. idle_seconds: how long a worker
    without work lives. A mail over a bound, or one that kills its worker twice, comes back with outcome "failed".
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        cpu_seconds: float = 2.0,
        memory_bytes: int = 1024 * 1024 * 1024,
        idle_seconds: float = 60.0,
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._memory_bytes = memory_bytes
        self._idle_seconds = idle_seconds
        self._places = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._living = 0
        self._timers: dict[_Worker, asyncio.TimerHandle] = {}
        self._endings: set[asyncio.Task[int]] = set()

    @property
    def living_workers(self) -> int:
        """Worker processes at work or waiting for it."""
        return self._living

    async def read(self, raw: bytes) -> Reading:
        """A mail's fields, codes and links. Raises Unavailable when no worker can be started."""
        if len(raw) <= (INLINE_BYTES if self._living else INLINE_COLD_BYTES):
            return _read_here(raw)
        async with self._places:
            return await self._read_there(raw)

    async def close(self) -> None:
        """End idle workers now, those at work with their mail."""
        self._idle_seconds = 0.0
        for worker in tuple(self._idle):
            self._retire(worker)
        await asyncio.gather(*self._endings)

    async def _read_there(self, raw: bytes) -> Reading:
        """A mail whose worker dies of no known cause gets a second one: the cause may have been the machine's."""
        for _ in range(2):
            worker = await self._borrow()
            try:
                async with asyncio.timeout(self._cpu_seconds * WALL_FACTOR):
                    reading = await worker.ask(raw)
            except TimeoutError:
                await self._end(worker)
                return unreadable(raw, "parser_time_over")
            except (EOFError, OSError, msgspec.MsgspecError):
                if await self._end(worker) == -signal.SIGPROF:
                    return unreadable(raw, "parser_cpu_over")
            except asyncio.CancelledError:
                await self._end(worker)  # its pipe holds half an answer to nobody
                raise
            else:
                self._give_back(worker)
                return reading
        log.get("parser").warning("a mail killed two workers", size_bytes=len(raw))
        return unreadable(raw, "parser_died")

    async def _borrow(self) -> "_Worker":
        while self._idle:
            worker = self._idle.pop()
            self._timers.pop(worker).cancel()
            if worker.is_alive:
                return worker
            await self._end(worker)
        self._living += 1
        try:
            return await _Worker.start(self._cpu_seconds, self._memory_bytes)
        except BaseException as broken:
            self._living -= 1
            if isinstance(broken, OSError):
                raise Unavailable("No process can be started to read this mail.", retry_after_s=5) from broken
            raise

    def _give_back(self, worker: "_Worker") -> None:
        self._idle.append(worker)
        loop = asyncio.get_running_loop()
        self._timers[worker] = loop.call_later(self._idle_seconds, self._retire, worker)

    def _retire(self, worker: "_Worker") -> None:
        self._idle.remove(worker)
        self._timers.pop(worker).cancel()
        ending = asyncio.ensure_future(self._end(worker))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _end(self, worker: "_Worker") -> int:
        self._living -= 1
        return await worker.end()


class _Worker:
    """One process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._jobs = process.stdin
        self._answers = process.stdout

    @classmethod
    async def start(cls, cpu_seconds: float, memory_bytes: int) -> "_Worker":
        """Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "leasebox.mail.parse_worker", str(cpu_seconds), str(memory_bytes)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        return cls(process)

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, raw: bytes) -> Reading:
        """Raises EOFError or OSError when the process dies, MsgspecError when it answers nonsense."""
        self._jobs.write(FRAME.pack(len(raw)))
        self._jobs.write(raw)
        await self._jobs.drain()
        size = FRAME.unpack(await self._answers.readexactly(FRAME.size))[0]
        if size > ANSWER_BYTES:
            raise msgspec.MsgspecError("an answer of this size is none")
        return _DECODER.decode(await self._answers.readexactly(size))

    async def end(self) -> int:
        """Kill the process if it still lives; its return code. May be called twice."""
        self._jobs.close()
        if self._answers.at_eof():
            # It ends by itself, and tells why. To kill it now could reap it under its watcher's hands (CPython's
            # Popen.kill looks first), and nobody would learn what it died of.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    return await self._process.wait()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        return await self._process.wait()


def _read_here(raw: bytes) -> Reading:
    try:
        return read(raw)
    except Exception:  # noqa: BLE001  # a fault of ours must cost this mail its parts, not the role its life
        log.get("parser").exception("a mail could not be read", size_bytes=len(raw))
        return unreadable(raw, "parser_died")
