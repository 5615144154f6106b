"""Roles as processes: ready together, restarted when they fall, drained in order, never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from leasebox.infra import supervisor
from leasebox.infra.supervisor import DRAINED, FAILED, REFUSED, RoleSpec, Supervisor
from tests.infra.homes import ROOT, alive, eventually, offspring, soon

# What every role here begins with: `ready(words)`, and a SIGTERM that ends it with status 0.
COMMON = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
def ready(words):
    os.write(int(os.environ["LEASEBOX_READY_FD"]), (words + chr(10)).encode())
"""
STEADY = "ready('{name}=127.0.0.1:1')\ntime.sleep(60)"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nready('')\ntime.sleep(60)"
SLOW = "def slowly(*_):\n    time.sleep(0.3)\n    open(os.environ['MARK'], 'w').close()\n    sys.exit(0)\n"


def role(name: str, body: str, **env: str) -> RoleSpec:
    argv = [sys.executable, "-I", "-S", "-c", COMMON + body.replace("{name}", name)]
    return RoleSpec(name, argv, {"PATH": os.defpath, **env})


class Watch:
    """A supervisor in this process, and what it said."""

    def __init__(self, *roles: RoleSpec, tend: Sequence[str] = ()) -> None:
        self.ready: list[dict[str, str]] = []
        self.lines: list[str] = []
        self.tended = list(tend)
        self.supervisor = Supervisor(roles, on_ready=self.ready.append, tell=self.lines.append, tend=self._tend)

    def _tend(self) -> list[str]:
        lines, self.tended = self.tended, []
        return lines

    async def __aenter__(self) -> "Watch":
        self.running = asyncio.create_task(self.supervisor.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        while not self.running.done():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait([self.running], timeout=0.2)

    async def ready_once(self) -> None:
        await soon(lambda: self.ready)

    async def said(self, text: str) -> None:
        await soon(lambda: text in f"{self.lines}")

    async def status(self, *signals: signal.Signals) -> int:
        """How it ends, after these signals."""
        for number in signals:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            return await self.running


async def test_ready_once_when_every_role_has_answered() -> None:
    slow = role("smtp", "time.sleep(0.2)\n" + STEADY)
    async with Watch(role("http", STEADY), slow, tend=["an engine fell"]) as watch:
        await watch.ready_once()
        assert watch.ready == [{"http": "127.0.0.1:1", "smtp": "127.0.0.1:1"}]
        pids = list(watch.supervisor.pids().values())
        assert await watch.status(signal.SIGTERM) == DRAINED
    assert watch.lines == ["an engine fell"]
    assert len(pids) == 2
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_fallen_role_is_started_again(number: signal.Signals) -> None:
    async with Watch(role("http", STEADY), role("smtp", STEADY)) as watch:
        await watch.ready_once()
        before = watch.supervisor.pids()
        os.kill(before["http"], number)
        await watch.said("starting it again in 0.1 s")
        await soon(lambda: watch.supervisor.pids().get("http", before["http"]) != before["http"])
        assert watch.supervisor.pids()["smtp"] == before["smtp"]
        assert len(watch.ready) == 1
        assert await watch.status(signal.SIGTERM) == DRAINED


async def test_pauses_grow_between_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.1, 0.3))
    async with Watch(role("http", "ready('http=1')")) as watch:
        await soon(lambda: len(watch.lines) >= 4)
        assert [line.split("again in ")[1] for line in watch.lines[:4]] == ["0.1 s", "0.2 s", "0.3 s", "0.3 s"]
        assert await watch.status(signal.SIGTERM) == DRAINED


async def test_one_that_had_come_up_is_not_kept_waiting_for_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed again and again it is back within seconds; what falls while it starts is given ever more time."""
    monkeypatch.setattr(supervisor, "_SHORT_S", 0.15)
    twice = "mark = os.environ['MARK']\nopen(mark, 'a').write('.')\nlives = os.path.getsize(mark)\n"
    body = twice + "if lives < 3:\n    ready('http=1')\nsys.exit(1)"
    async with Watch(role("http", body, MARK=str(tmp_path / "lives"))) as watch:
        await soon(lambda: len(watch.lines) >= 4)
        assert [line.split("again in ")[1] for line in watch.lines[:4]] == ["0.1 s", "0.1 s", "0.4 s", "0.8 s"]
        assert await watch.status(signal.SIGTERM) == DRAINED


async def test_what_a_fallen_role_had_started_goes_too(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    body = "child = subprocess.Popen(['sleep', '60'])\nopen(os.environ['MARK'], 'w').write(str(child.pid))\n" + STEADY
    async with Watch(role("http", body, MARK=str(mark))) as watch:
        await watch.ready_once()
        child = int(mark.read_text())
        assert alive(child)
        os.kill(watch.supervisor.pids()["http"], signal.SIGKILL)
        await watch.said("ended by SIGKILL")
        assert eventually(lambda: not alive(child))
        assert await watch.status(signal.SIGTERM) == DRAINED


async def test_a_role_that_refuses_at_first_ends_everything_with_its_status() -> None:
    async with Watch(role("http", STEADY), role("smtp", "sys.exit(2)")) as watch:
        assert await watch.status() == REFUSED
        assert watch.ready == []
        assert watch.lines == []
        assert watch.supervisor.pids() == {}


async def test_a_role_that_never_starts_ends_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.01, 0.01))
    async with Watch(role("http", STEADY), role("smtp", "sys.exit(1)")) as watch:
        assert await watch.status() == FAILED
        assert watch.lines[-1] == "role smtp does not start: it ended 5 times, last with status 1"


async def test_a_program_that_is_not_there_ends_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.01, 0.01))
    async with Watch(RoleSpec("http", ["/nowhere/python"], {})) as watch:
        assert await watch.status() == FAILED
        assert "role http cannot be started" in watch.lines[0]


@pytest.mark.parametrize("body", ["time.sleep(60)", "os.close(int(os.environ['LEASEBOX_READY_FD']))\ntime.sleep(60)"])
async def test_a_role_that_stays_silent_is_started_again(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_READY_S", 0.2)
    async with Watch(role("http", body)) as watch:
        await watch.said("ended by SIGKILL; starting it again")
        assert "role http did not say within 0 s that it is ready" in watch.lines
        assert await watch.status(signal.SIGTERM) == DRAINED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_waits_for_what_is_under_way(number: signal.Signals, tmp_path: Path) -> None:
    mark = tmp_path / "done"
    body = SLOW + "signal.signal(signal.SIGTERM, slowly)\n" + STEADY
    async with Watch(role("http", body, MARK=str(mark))) as watch:
        await watch.ready_once()
        assert await watch.status(number) == DRAINED
        assert mark.exists()


async def test_a_role_that_does_not_drain_is_killed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_DRAIN_S", 0.3)
    async with Watch(role("http", STUBBORN)) as watch:
        await watch.ready_once()
        assert await watch.status(signal.SIGTERM) == FAILED
        assert watch.lines == ["role http did not drain in time and was killed"]


async def test_a_second_signal_does_not_wait() -> None:
    async with Watch(role("http", STUBBORN)) as watch:
        await watch.ready_once()
        assert await watch.status(signal.SIGINT, signal.SIGINT) == FAILED


async def test_a_second_sigterm_still_waits(tmp_path: Path) -> None:
    mark = tmp_path / "done"
    body = SLOW + "signal.signal(signal.SIGTERM, slowly)\n" + STEADY
    async with Watch(role("http", body, MARK=str(mark))) as watch:
        await watch.ready_once()
        assert await watch.status(signal.SIGTERM, signal.SIGTERM) == DRAINED
        assert mark.exists()


async def test_a_signal_while_roles_still_start_ends_them() -> None:
    async with Watch(role("http", "time.sleep(60)")) as watch:
        await asyncio.sleep(0)
        assert await watch.status(signal.SIGTERM) == DRAINED
        assert watch.ready == []


async def test_a_fault_of_our_own_ends_the_roles_and_is_raised() -> None:
    def fail(words: dict[str, str]) -> None:
        raise RuntimeError(f"cannot announce {words}")

    it = Supervisor([role("http", STEADY)], on_ready=fail, tell=print)
    with pytest.raises(RuntimeError, match="cannot announce"):
        await it.run()
    assert it.pids() == {}


def test_a_killed_supervisor_leaves_no_role() -> None:
    script = (
        "import asyncio, sys\nfrom tests.infra.test_supervisor import *\n"
        "watch = Supervisor([role('http', STEADY), role('smtp', STUBBORN)], tell=print,"
        " on_ready=lambda words: print('ready', flush=True))\nasyncio.run(watch.run())"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        family = offspring(process.pid)
        process.kill()
    assert len(family) == 2
    assert eventually(lambda: not [pid for pid in family if alive(pid)])
