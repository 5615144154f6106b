"""A process that has imported what the roles need, and forks them: imports are paid once and their pages are shared.

It stays single-threaded, since a fork copies only the thread that calls it, and serves nobody itself. What it forks is
not its child: the supervisor adopts it (PR_SET_CHILD_SUBREAPER), so roles outlive the nursery and not their keeper.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from leasebox.infra import confine

# An order is this length, that many bytes of JSON, and beside them two descriptors: where the newborn says that it
# answers, and where it writes its pid once it has been adopted. The end of the latter without a word is a refusal.
FRAME = struct.Struct("!I")
READY_FD = "LEASEBOX_READY_FD"
_FOR_THE_SUPERVISOR = (signal.SIGTERM, signal.SIGINT)
_STEP_S = 0.0005
_ARG_START, _ARG_END = 45, 46  # of /proc/<pid>/stat, counted from behind the program's name (proc(5): 48 and 49)


class Stage(NamedTuple):
    """A command, and what has to be imported before it is forked."""

    command: str
    modules: Sequence[str]


class Order(NamedTuple):
    """What the supervisor wants: argv as ps(1) shall show it, how many words of it lead to ours, its environment."""

    argv: list[str]
    preface: int
    env: dict[str, str]

    @property
    def words(self) -> list[str]:
        """The command and its arguments."""
        return self.argv[self.preface :]


def attend(control: socket.socket, stages: Iterable[Stage]) -> list[str] | None:
    """Import the stages one after the other, fork what is ordered as soon as its command is known.

    Returns in every newborn, in a session and with an environment of its own: the words of its order. Returns None in
    the nursery itself when the supervisor has closed its end.
    """
    gc.disable()  # the newborn have it on again; here nothing but what lives for ever is made
    # Who stops a whole group of processes means the supervisor, and its end is ours.
    for number in _FOR_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    desk = _Desk(control)
    for stage in stages:
        for module in stage.modules:
            importlib.import_module(module)
            if born := desk.serve(0):
                return born
        desk.known.add(stage.command)
        if born := desk.serve(0):
            return born
    while not desk.closed:
        if born := desk.serve(None):
            return born
    return None


class _Desk:
    """Takes orders and carries them out."""

    def __init__(self, control: socket.socket) -> None:
        self.known: set[str] = set()
        self.closed = False
        self._control = control
        self._supervisor = os.getppid()
        self._waiting: list[tuple[Order, list[int]]] = []

    def serve(self, patience_s: float | None) -> list[str] | None:
        """Take an order, fork what can be forked; the words of the order in the newborn, else None."""
        if not self.closed and select.select([self._control], [], [], patience_s)[0]:
            self._take()
        due = [each for each in self._waiting if each[0].words[0] in self.known]
        self._waiting = [each for each in self._waiting if each not in due]
        for order, descriptors in due:
            if self._bear(order, descriptors):
                return order.words
        return None

    def _take(self) -> None:
        head, descriptors, _, _ = socket.recv_fds(self._control, FRAME.size, 2, socket.MSG_CMSG_CLOEXEC)
        if len(head) < FRAME.size:
            self.closed = True
            return
        wanted = json.loads(self._control.recv(FRAME.unpack(head)[0], socket.MSG_WAITALL))
        self._waiting.append((Order(**wanted), descriptors))

    def _bear(self, order: Order, descriptors: list[int]) -> bool:
        """Whether we are the newborn."""
        gc.freeze()  # no collection of the newborn's writes into the pages that all share
        try:
            middle = os.fork()
        except OSError:  # no process to be had: the supervisor hears the end of the pipe
            middle = -1
        if middle == 0:
            self._bear_orphan()
            self._begin(order, *descriptors)
            return True
        if middle > 0:
            os.waitpid(middle, 0)
        for descriptor in descriptors:
            os.close(descriptor)
        return False

    def _bear_orphan(self) -> None:
        """Fork once more and end; returns in the grandchild once the supervisor is its parent."""
        middle = os.getpid()
        try:
            if os.fork():
                os._exit(0)
        except OSError:
            os._exit(1)
        os.setsid()
        while os.getppid() == middle:
            time.sleep(_STEP_S)
        confine.tie(self._supervisor, signal.SIGKILL)

    def _begin(self, order: Order, ready: int, told: int) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._control.close()
        for _, descriptors in self._waiting:
            for descriptor in descriptors:
                os.close(descriptor)
        os.environ.clear()
        os.environ.update(order.env | {READY_FD: str(ready)})
        sys.argv[1:] = order.words
        with contextlib.suppress(OSError, ValueError, IndexError):  # it is for the eye only
            _show(order.argv)
        gc.enable()
        try:
            os.write(told, b"%d\n" % os.getpid())
        except OSError:  # nobody waits for us any more: somebody else does our work
            os._exit(1)
        os.close(told)


def _show(argv: Sequence[str]) -> None:
    """Let ps(1) show these words as ours: they are written over those that the nursery was started with.

    Slashes in the program's path fill what is left. Nothing is changed where the kernel does not say where they are.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    words = [os.fsencode(word) for word in argv]
    spare = end - start - sum(len(word) + 1 for word in words)
    folder, slash, name = words[0].rpartition(b"/")
    if start and slash and spare >= 0:
        text = b"\0".join([folder + slash * (1 + spare) + name, *words[1:]]) + b"\0"
        ctypes.memmove(start, text, len(text))
