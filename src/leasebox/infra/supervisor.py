"""Keeps the roles of one machine running as processes of their own, and ends them without losing work.

A role tells that it answers by one line of `name=value` words on the descriptor named in LEASEBOX_READY_FD.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from leasebox.infra import confine
from leasebox.infra.nursery import READY_FD

# Exit statuses: a role that ends with REFUSED when it first starts cannot run as it was set up.
DRAINED, FAILED, REFUSED = 0, 1, 2
_DRAIN_S = 20.0
_READY_S = 60.0
_BACKOFF_S = (0.1, 5.0)
# One that had come up before it fell will come up again: waiting longer would only add to the outage.
_SHORT_S = 1.0
_STEADY_S = 30.0
_TRIES = 5
_TEND_S = 0.2


class RoleSpec(NamedTuple):
    """A process to keep running. env is its whole environment; secrets belong there, never in argv."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


class Child(Protocol):
    """A role's process, which leads a session of its own."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None:
        """None while it lives."""

    def terminate(self) -> None:
        """SIGTERM. Raises ProcessLookupError when it has ended."""

    async def wait(self) -> int:
        """Its exit status, negative for a signal."""


async def execute(role: RoleSpec, ready: int) -> Child:
    """Start a role as a program of its own, which says at `ready` that it answers. Raises OSError."""
    return await asyncio.create_subprocess_exec(
        *role.argv,
        env={**role.env, READY_FD: str(ready)},
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(ready,),
        start_new_session=True,  # so that Ctrl-C reaches us alone and we drain it in order
        preexec_fn=confine.with_parent(signal.SIGKILL),
    )


class Supervisor:
    """Runs `roles` until a signal ends it.

    on_ready: called once, when every role has answered, with all their `name=value` words. tell: takes lines for the
    operator. tend: called every 0.2 s; gives further lines (of the engines, say). start: makes a role's process.
    """

    def __init__(
        self,
        roles: Sequence[RoleSpec],
        *,
        on_ready: Callable[[dict[str, str]], None],
        tell: Callable[[str], None],
        tend: Callable[[], Sequence[str]] = tuple,
        start: Callable[[RoleSpec, int], Awaitable[Child]] = execute,
    ) -> None:
        self._roles = roles
        self._on_ready = on_ready
        self._tell = tell
        self._tend = tend
        self._start = start
        self._living: dict[str, Child] = {}
        self._words: dict[str, str] = {}
        self._answered: set[str] = set()
        self._came_up: set[str] = set()
        self._status = DRAINED
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """Keep the roles running until SIGTERM or SIGINT; then SIGTERM, 20 s, SIGKILL (at once on a second SIGINT).

        A second SIGTERM changes nothing: whoever signals a whole process group is repeated by `make`, which passes
        SIGTERM on to its children.

        Gives DRAINED, FAILED (a role never came up, or had to be killed) or REFUSED. Call it in the main thread.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        keepers = [asyncio.create_task(self._keep(role)) for role in self._roles]
        for keeper in keepers:
            keeper.add_done_callback(self._check)
        tending = asyncio.create_task(self._tending())
        try:
            await self._stop.wait()
            await self._drain(keepers)
        finally:
            tending.cancel()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        return self._status

    def pids(self) -> dict[str, int]:
        """The present process of each role, by name."""
        return {name: process.pid for name, process in self._living.items()}

    def _interrupt(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _check(self, keeper: "asyncio.Task[None]") -> None:
        if not keeper.cancelled() and keeper.exception():
            self._end(FAILED)  # `run` raises it once the other roles have drained

    def _end(self, status: int) -> None:
        self._status = self._status or status
        self._stop.set()

    async def _keep(self, role: RoleSpec) -> None:
        falls = 0
        while not self._stop.is_set():
            began = time.monotonic()
            status = await self._live(role)
            if self._stop.is_set():
                return
            falls = 1 if time.monotonic() - began > _STEADY_S else falls + 1
            if role.name not in self._answered and (status == REFUSED or falls == _TRIES):
                if status != REFUSED:
                    self._tell(f"role {role.name} does not start: it ended {_TRIES} times, last {said(status)}")
                self._end(REFUSED if status == REFUSED else FAILED)
                return
            longest = min(_BACKOFF_S[1], _SHORT_S) if role.name in self._came_up else _BACKOFF_S[1]
            pause = min(longest, _BACKOFF_S[0] * 2 ** (falls - 1))
            self._tell(f"role {role.name} ended {said(status)}; starting it again in {pause:.1f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    async def _live(self, role: RoleSpec) -> int:
        """One life of a role, from start to end; its exit status."""
        self._came_up.discard(role.name)
        heard, spoken = os.pipe()
        try:
            process = await self._start(role, spoken)
        except OSError as fault:
            os.close(heard)
            self._tell(f"role {role.name} cannot be started: {fault}")
            return FAILED
        finally:
            os.close(spoken)
        self._living[role.name] = process
        if self._stop.is_set():
            process.terminate()
        ended = asyncio.create_task(process.wait())
        try:
            await self._hear(role, ended, heard)
            return await ended
        finally:
            del self._living[role.name]
            _kill_group(process)  # whatever a crashed role had started must not hold its port

    async def _hear(self, role: RoleSpec, ended: "asyncio.Task[int]", heard: int) -> None:
        reader = asyncio.StreamReader(limit=4096)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(heard, "rb", buffering=0)
        )
        # The end of the pipe alone would not do: what a role leaves behind may keep it open.
        line = asyncio.create_task(reader.readline())
        await asyncio.wait({line, ended}, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
        pipe.close()
        text = await line if line.done() and line.exception() is None else b""
        if text.endswith(b"\n"):
            self._note(role, text.decode(errors="replace"))
            return
        if line.done():  # the pipe is closed without a word: the role is ending, as a rule
            await asyncio.wait({ended}, timeout=_READY_S)
        line.cancel()
        if not ended.done():
            self._tell(f"role {role.name} did not say within {_READY_S:.0f} s that it is ready")
            _kill_group(self._living[role.name])

    def _note(self, role: RoleSpec, line: str) -> None:
        self._words |= dict(word.split("=", 1) for word in line.split() if "=" in word)
        self._came_up.add(role.name)
        fresh = role.name not in self._answered
        self._answered.add(role.name)
        if fresh and len(self._answered) == len(self._roles) and not self._stop.is_set():
            self._on_ready(dict(self._words))

    async def _tending(self) -> None:
        while True:
            for line in self._tend():
                self._tell(line)
            await asyncio.sleep(_TEND_S)

    async def _drain(self, keepers: Sequence["asyncio.Task[None]"]) -> None:
        for process in self._living.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        ending = asyncio.ensure_future(asyncio.gather(*keepers))
        hurry = asyncio.ensure_future(self._hurry.wait())
        waiting: list[asyncio.Future[Any]] = [ending, hurry]
        await asyncio.wait(waiting, timeout=_DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        for name, process in self._living.items():
            self._tell(f"role {name} did not drain in time and was killed")
            self._status = self._status or FAILED
            _kill_group(process)
        await ending


def _kill_group(process: Child) -> None:
    # The role leads its own session, so its group is its pid for as long as any member lives.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def said(status: int) -> str:
    """How a process ended, in words."""
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
