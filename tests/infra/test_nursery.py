"""A nursery: what it forks is the supervisor's child, in a session and an environment of its own."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from leasebox.infra import confine
from leasebox.infra.nursery import FRAME, READY_FD, Order, Stage, attend
from tests.infra.homes import alive, argv

# Tells what a newborn finds; `slow` waits for a file before it is imported.
PROGRAM = """
import gc, json, os, signal, socket, sys
from leasebox.infra.nursery import Stage, attend
words = attend(socket.socket(fileno=int(sys.argv[-1])), [Stage("early", ["json"]), Stage("late", ["slow", "wave"])])
if words:
    found = {
        "words": words, "argv": sys.argv[1:], "env": dict(os.environ), "parent": os.getppid(), "session": os.getsid(0),
        "gc": gc.isenabled(), "frozen": gc.get_freeze_count() > 0, "wave": "wave" in sys.modules,
        "tasks": len(os.listdir("/proc/self/task")), "open": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    }
    os.write(int(os.environ["LEASEBOX_READY_FD"]), json.dumps(found).encode() + b"\\n")
    if "wait" in words:
        signal.pause()
    sys.exit(int(words[-1]))
"""
SLOW = "import os, time\nwhile not os.path.exists(os.environ['MARK']):\n    time.sleep(0.01)\n"


class Desk:
    """The supervisor's end of a nursery."""

    def __init__(self, place: Path) -> None:
        (place / "slow.py").write_text(SLOW)
        (place / "program.py").write_text(PROGRAM)
        self.mark = place / "mark"
        self.open = ExitStack()
        self.control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "program", "a word to write over", str(theirs.fileno())],
                env={
                    "PATH": os.defpath,
                    "PYTHONPATH": os.pathsep.join([str(place), *sys.path]),
                    "MARK": str(self.mark),
                },
                pass_fds=(theirs.fileno(),),
            )

    def order(self, *words: str, **env: str) -> "Newborn":
        """Ask for a process."""
        ready, told = os.pipe(), os.pipe()
        order = json.dumps(Order([sys.executable, "-m", "shown", *words], 3, env)._asdict()).encode()
        socket.send_fds(self.control, [FRAME.pack(len(order))], [ready[1], told[1]])
        self.control.sendall(order)
        os.close(ready[1])
        os.close(told[1])
        return Newborn(*(self.open.enter_context(os.fdopen(end[0])) for end in (ready, told)))


class Newborn:
    """What comes of an order."""

    def __init__(self, ready: Any, told: Any) -> None:
        self._ready = ready
        self._told = told

    def pid(self) -> int | None:
        """Its pid as it has told it, None when there is none."""
        line = self._told.readline()
        return int(line) if line else None

    def found(self) -> dict[str, Any]:
        """What it has found around it."""
        found: dict[str, Any] = json.loads(self._ready.readline())
        return found


@contextmanager
def nursery(place: Path) -> Iterator[Desk]:
    confine.adopt_orphans()
    desk = Desk(place)
    try:
        yield desk
    finally:
        desk.open.close()
        desk.control.close()
        desk.process.kill()
        desk.process.wait()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with nursery(tmp_path) as desk:
        desk.mark.touch()
        yield desk


def ended(pid: int) -> int:
    """Its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_newborn_is_ours_and_stands_alone(desk: Desk) -> None:
    newborn = desk.order("late", "7", COLOUR="gr\udcfcn")
    pid = newborn.pid()
    assert pid
    found = newborn.found()
    assert ended(pid) == 7
    assert found["words"] == found["argv"] == ["late", "7"]
    assert found["env"].keys() == {"COLOUR", READY_FD}
    assert found["env"]["COLOUR"] == "gr\udcfcn"
    assert (found["parent"], found["session"]) == (os.getpid(), pid)
    assert found["gc"]
    assert found["frozen"]
    assert found["wave"]
    assert found["tasks"] == 1
    # 0, 1, 2, where it says that it is ready, and the directory that it lists: nothing of the nursery's is left open.
    assert len(found["open"]) == 5


def test_ps_shows_its_own_words(desk: Desk) -> None:
    newborn = desk.order("late", "wait")
    pid = newborn.pid()
    assert pid
    folder, _, name = sys.executable.rpartition("/")
    shown = argv(pid)
    assert shown.endswith(" -m shown late wait ")
    assert shown.startswith(folder + "/")
    assert os.path.samefile(shown.split()[0], f"{folder}/{name}")
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == -signal.SIGTERM


def test_what_is_known_already_does_not_wait_for_the_rest(tmp_path: Path) -> None:
    with nursery(tmp_path) as desk:
        late, early = desk.order("late", "0"), desk.order("early", "0")
        desk.mark.touch()
        pids = [early.pid(), late.pid()]
        assert not early.found()["wave"]
        assert late.found()["wave"]
        assert [ended(pid) for pid in pids if pid] == [0, 0]


def test_it_ends_with_the_supervisors_end_of_the_socket(desk: Desk) -> None:
    desk.control.close()
    assert desk.process.wait(20) == 0


def test_it_does_not_end_when_a_whole_group_is_told_to(desk: Desk) -> None:
    first, second = desk.order("late", "wait"), desk.order("late", "wait")
    pids = [first.pid(), second.pid()]
    for number, pid in zip((signal.SIGTERM, signal.SIGINT), pids, strict=True):
        assert pid
        desk.process.send_signal(number)
        os.kill(pid, number)
        assert ended(pid) != 0
    third = desk.order("late", "0").pid()
    assert third
    assert ended(third) == 0


def test_what_it_has_forked_outlives_it(desk: Desk) -> None:
    newborn = desk.order("late", "wait")
    pid = newborn.pid()
    assert pid
    desk.process.kill()
    desk.process.wait()
    assert newborn.found()["words"] == ["late", "wait"]
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)
    assert ended(pid) == -signal.SIGKILL


def test_an_order_that_it_cannot_carry_out_is_answered_by_the_end_of_the_pipe(tmp_path: Path) -> None:
    with nursery(tmp_path) as desk:
        newborn = desk.order("late", "0")
        desk.process.kill()
        assert newborn.pid() is None


def test_a_module_that_is_not_there_ends_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with pytest.raises(ModuleNotFoundError):
                attend(theirs, [Stage("serve", ["leasebox.nowhere"])])
        finally:
            gc.enable()
            for number, handler in before.items():
                signal.signal(number, handler)
