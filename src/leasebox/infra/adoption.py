"""The supervisor's side of the nursery: it starts it, orders roles from it and adopts them.

Without a nursery roles are started as programs of their own: that takes longer and more memory, and works as well.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence

from leasebox.infra import confine
from leasebox.infra.nursery import FRAME, Order
from leasebox.infra.supervisor import FAILED, Child, RoleSpec, execute, said

# It may still have to import what it was asked for: a second, or many on a machine that is busy otherwise.
_PATIENCE_S = 30.0
_BACKOFF_S = (0.2, 30.0)


class Nursery:
    """A process that forks roles, and those that it has forked.

    argv: the program that runs `nursery.attend`; the number of its socket is added as the last word. env: its whole
    environment, which roles replace by theirs. preface: how many words of a role's argv lead to its command.
    """

    def __init__(self, argv: Sequence[str], *, preface: int) -> None:
        self._argv = argv
        self._preface = preface
        self._env: Mapping[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._children: list[Child] = []
        self._under_way = 0
        self._falls = 0
        self._not_before = 0.0

    def open(self, env: Mapping[str, str]) -> None:
        """Start it; it goes on importing while we do other things. Call it in the main thread. Raises OSError."""
        confine.adopt_orphans()
        self._env = env
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_PATIENCE_S)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 ourselves
                [*self._argv, str(theirs.fileno())],
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                preexec_fn=confine.with_parent(signal.SIGKILL),  # noqa: PLW1509 it calls prctl(2) and no more
            )

    async def start(self, role: RoleSpec, ready: int) -> Child:
        """A role's process; `ready` is where it says that it answers. Raises OSError."""
        self._under_way += 1
        try:
            child: Child = await self._ordered(role, ready) or await execute(role, ready)
        finally:
            self._under_way -= 1
        self._children = [each for each in self._children if each.returncode is None] + [child]
        return child

    def pid(self) -> int | None:
        """The nursery's own process, None while there is none."""
        return self._process.pid if self._process else None

    def tend(self, others: Collection[int]) -> list[str]:
        """Start it again when it fell; reap orphans. Returns at once; gives lines for the operator.

        others: our children that are no roles; somebody else waits for them.
        """
        lines = []
        if self._process and (status := self._process.poll()) is not None:
            lines.append(f"the nursery ended {said(status)}; the roles go on")
            self._fall()
        elif self._process is None and self._falls and time.monotonic() >= self._not_before:
            with contextlib.suppress(OSError):
                self.open(self._env)
        self._bury(others)
        return lines

    def close(self) -> None:
        """End it. What it has forked stays."""
        if self._control:
            self._control.close()
        if self._process:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None

    async def _ordered(self, role: RoleSpec, ready: int) -> "Adopted | None":
        """What the nursery has forked, None when it does not."""
        heard, told = os.pipe()
        try:
            self._send(role, ready, told)
        except OSError:
            os.close(heard)
            return None
        finally:
            os.close(told)
        try:
            pid = await _first_line(heard)
        except TimeoutError:
            # It is stuck. Nothing is carried out twice: a newborn that cannot tell its pid any more ends.
            if self._process:
                self._process.kill()
            return None
        if not pid:
            return None
        self._falls = 0
        return Adopted(int(pid))

    def _send(self, role: RoleSpec, ready: int, told: int) -> None:
        if self._control is None:
            raise BrokenPipeError
        order = json.dumps(Order(list(role.argv), self._preface, dict(role.env))._asdict()).encode()
        socket.send_fds(self._control, [FRAME.pack(len(order))], [ready, told])
        self._control.sendall(order)

    def _fall(self) -> None:
        self.close()
        first, longest = _BACKOFF_S
        self._not_before = time.monotonic() + min(longest, first * 2**self._falls)
        self._falls += 1

    def _bury(self, others: Collection[int]) -> None:
        """Reap what was orphaned below us (a killed role's children, a killed PostgreSQL's), and nobody else's."""
        if self._under_way:  # a newborn may not be known yet
            return
        ours = {*others, self.pid(), *(child.pid for child in self._children)}
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in ours:
                    return
                os.waitpid(found.si_pid, os.WNOHANG)


class Adopted:
    """A process that became our child when its parent ended; create it in a running loop."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        threading.Thread(target=self._watch, name=f"watch-{pid}", daemon=True).start()

    def terminate(self) -> None:
        """SIGTERM. Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, signal.SIGTERM)

    async def wait(self) -> int:
        """Its exit status, negative for a signal."""
        status: int = await asyncio.shield(self._ended)
        return status

    def _watch(self) -> None:
        try:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # somebody else has reaped it
            self.returncode = FAILED
        with contextlib.suppress(RuntimeError):  # the loop has ended before it
            self._loop.call_soon_threadsafe(self._ended.set_result, self.returncode)


async def _first_line(heard: int) -> bytes:
    """What comes through this descriptor, at most a line; b"" when it ends without. Closes it. Raises TimeoutError."""
    reader = asyncio.StreamReader(limit=4096)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(heard, "rb", buffering=0)
    )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await reader.readline()
    finally:
        pipe.close()
