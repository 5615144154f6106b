"""The supervisor's side of a nursery: roles are ordered and adopted, and nothing depends on the nursery's life."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from leasebox.infra import adoption
from leasebox.infra.adoption import Adopted, Nursery
from leasebox.infra.nursery import READY_FD
from leasebox.infra.supervisor import DRAINED, Child, RoleSpec, Supervisor
from tests.infra.homes import alive, argv, offspring, soon

# As a nursery it forks roles; as a program of its own it is one. LIFE says what a role does.
PROGRAM = """
import os, signal, socket, subprocess, sys, time
from leasebox.infra.nursery import Stage, attend
words = sys.argv[2:] if sys.argv[1] == "run" else attend(socket.socket(fileno=int(sys.argv[-1])), [Stage("serve", [])])
if words:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    exec(os.environ.get("LIFE", ""))
    os.write(int(os.environ["LEASEBOX_READY_FD"]), f"how={sys.argv[1]} pid={os.getpid()}\\n".encode())
    time.sleep(60)
"""
ORPHAN = "child = subprocess.Popen(['sleep', '60']); open(os.environ['MARK'], 'w').write(str(child.pid))"


class Yard:
    """A nursery, and roles of it."""

    def __init__(self, place: Path) -> None:
        (place / "program.py").write_text(PROGRAM)
        self.env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join([str(place), *sys.path])}
        self.self = (sys.executable, "-m", "program")
        self.nursery = Nursery([*self.self, "attend", "as long as a role's"], preface=4)
        self.nursery.open(self.env)

    def role(self, **env: str) -> RoleSpec:
        return RoleSpec("http", [*self.self, "run", "serve", "http"], self.env | env)

    async def born(self, **env: str) -> tuple[Child, dict[str, str]]:
        """A role's process, and the words by which it said that it is ready."""
        heard, spoken = os.pipe()
        try:
            child = await self.nursery.start(self.role(**env), spoken)
        finally:
            os.close(spoken)
        with os.fdopen(heard) as said:
            line = await asyncio.to_thread(said.readline)
        return child, dict(word.split("=", 1) for word in line.split())


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    yard.nursery.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_forked_role_is_a_child_like_any_other(yard: Yard, number: signal.Signals) -> None:
    child, words = await yard.born()
    assert isinstance(child, Adopted)
    assert words == {"how": "serve", "pid": str(child.pid)}
    assert child.returncode is None
    if number == signal.SIGTERM:
        child.terminate()
    else:
        os.kill(child.pid, number)
    status = 0 if number == signal.SIGTERM else -number
    assert [await child.wait(), await child.wait(), child.returncode] == [status] * 3
    with pytest.raises(ProcessLookupError):
        child.terminate()


async def test_roles_ordered_at_once_are_told_apart(yard: Yard) -> None:
    born = await asyncio.gather(*(yard.born(LIFE=f"os.environ['N'] = '{number}'") for number in range(5)))
    assert len({child.pid for child, _ in born}) == 5
    for child, words in born:
        assert str(child.pid) == words["pid"]
        child.terminate()
        assert await child.wait() == 0


async def test_its_death_harms_no_role_and_the_next_starts_all_the_same(yard: Yard) -> None:
    first, _ = await yard.born()
    gone = yard.nursery.pid()
    assert gone
    os.kill(gone, signal.SIGKILL)
    await soon(lambda: not alive(gone))
    second, words = await yard.born()
    assert words["how"] == "run", "without a nursery it is a program of its own"
    assert yard.nursery.tend(()) == ["the nursery ended by SIGKILL; the roles go on"]
    await soon(lambda: yard.nursery.tend(()) == [] and yard.nursery.pid())
    third, words = await yard.born()
    assert words["how"] == "serve", "and a new one forks again"
    for child in (first, second, third):
        assert child.returncode is None
        child.terminate()
        assert await child.wait() == 0


async def test_a_stuck_one_keeps_nobody_waiting_for_ever(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "_PATIENCE_S", 0.2)
    stuck = yard.nursery.pid()
    assert stuck
    os.kill(stuck, signal.SIGSTOP)
    child, words = await yard.born()
    assert words["how"] == "run"
    await soon(lambda: not alive(stuck))
    child.terminate()
    assert await child.wait() == 0


async def test_one_that_never_comes_up_is_tried_ever_more_seldom(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    (tmp_path / "program.py").write_text("raise SystemExit(3)")
    told: list[tuple[float, str]] = []
    yard.nursery.close()
    yard.nursery.open(yard.env)
    try:
        async with asyncio.timeout(60):
            while len(told) < 4:
                told += [(time.monotonic(), line) for line in yard.nursery.tend(())]
                await asyncio.sleep(0.01)
    finally:
        yard.nursery.close()
    assert {line for _, line in told} == {"the nursery ended with status 3; the roles go on"}
    waits = [later - earlier for (earlier, _), (later, _) in pairwise(told)]
    assert all(wait >= least for wait, least in zip(waits, (0.2, 0.4, 0.8), strict=True)), waits


async def test_it_reaps_orphans_and_leaves_other_children_alone(yard: Yard, tmp_path: Path) -> None:
    child, _ = await yard.born(LIFE=ORPHAN, MARK=str(tmp_path / "orphan"))
    orphan = int((tmp_path / "orphan").read_text())
    others = {*offspring(os.getpid())} - {child.pid, orphan}
    with subprocess.Popen(["sleep", "0"]) as other:  # noqa: ASYNC220 it returns at once
        await soon(lambda: not alive(other.pid))
        assert yard.nursery.tend({*others, other.pid}) == []
        assert other.wait() == 0
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    os.killpg(child.pid, signal.SIGKILL)
    await soon(lambda: yard.nursery.tend(others) == [] and not Path(f"/proc/{orphan}").exists())


async def test_under_a_supervisor_a_fallen_role_is_forked_again(yard: Yard) -> None:
    ready: list[dict[str, str]] = []
    lines: list[str] = []
    supervisor = Supervisor(
        [yard.role()],
        on_ready=ready.append,
        tell=lines.append,
        tend=lambda: yard.nursery.tend({*offspring(os.getpid())}),
        start=yard.nursery.start,
    )
    running = asyncio.create_task(supervisor.run())
    await soon(lambda: ready)
    first = supervisor.pids()["http"]
    assert argv(first).endswith(" run serve http ")
    assert READY_FD not in yard.env
    os.kill(first, signal.SIGKILL)
    await soon(lambda: supervisor.pids().get("http", first) != first)
    assert "role http ended by SIGKILL; starting it again in 0.1 s" in lines
    second = supervisor.pids()["http"]
    await soon(lambda: argv(second).endswith(" run serve http "))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == DRAINED
    assert not alive(second)
