"""What goes wrong in a campaign: one fault after the other, in an order that the seed decides.

Each fault is an async function; what it returns, if anything, says why it could not be done. A fault breaks a `role` or
the whole `launcher` (connections end, which is no reason for a 503), or is an `outage` (until it is over 503 and 4yz
are right), or breaks nothing.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from tests.faults import gates
from tests.faults.actors import slow_peers
from tests.faults.machine import ROLES, Machine
from tests.faults.world import World
from tests.infra.homes import offspring

Work = Callable[[World, random.Random], Awaitable[str | None]]
# What readiness may take once the outage is over (I9), and for how long we wait to see it at all.
READY_S, _LOST_S = 10.0, 60.0


class Fault(msgspec.Struct, frozen=True):
    """times: how often it happens at least. breaks: see above."""

    name: str
    breaks: str
    times: int
    work: Work


async def kill_role(role: str, world: World, dice: random.Random) -> None:
    """kill -9 one process of a role, or one that it started."""
    family = world.machine.family(role)
    await gates.kill_all([dice.choice(family)] if family else [])


async def freeze_and_kill_role(role: str, world: World, dice: random.Random) -> None:
    """SIGSTOP in the middle of whatever it does, a while of silence, then SIGKILL."""
    frozen = world.machine.family(role)
    for pid in frozen:
        _signal(pid, signal.SIGSTOP)
    await asyncio.sleep(dice.uniform(0.2, 1.5))
    await gates.kill_all(frozen)


async def kill_at_commit(point: gates.Point, side: str, world: World, dice: random.Random) -> str | None:
    """kill -9 a role at a named point."""
    del dice
    return None if await gates.kill_at(world.machine, point, side) else "nobody came to the gate"


async def signal_engine(name: str, number: signal.Signals, world: World, dice: random.Random) -> str | None:
    """SIGKILL, or SIGQUIT: PostgreSQL's immediate shutdown."""
    del dice
    pid = world.machine.engine(name)
    if pid is None:
        return f"{name} does not run"
    _signal(pid, number)
    return None


async def flush_cache(world: World, dice: random.Random) -> None:
    """FLUSHALL, a few times in a row."""
    for _ in range(dice.choice((1, 3))):
        with contextlib.suppress(OSError):
            await world.machine.flush_cache()
        await asyncio.sleep(0.05)


async def freeze_engine(name: str, world: World, dice: random.Random) -> str | None:
    """An engine that takes connections and says nothing."""
    pids = _engine_family(world.machine, name)
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    await asyncio.sleep(dice.uniform(2, 5))
    for pid in pids:
        _signal(pid, signal.SIGCONT)
    return None if pids else f"{name} does not run"


async def fill_disk(world: World, dice: random.Random) -> str | None:
    """No room for a byte, for some seconds."""
    if not world.machine.has_own_disk:
        return "a disk of our own to fill needs root and mount"
    ballast = await asyncio.to_thread(world.machine.fill_disk)
    try:
        await asyncio.sleep(dice.uniform(3, 7))
    finally:
        ballast.unlink()
    return None


async def step_clock(world: World, dice: random.Random) -> None:
    """The clock is ten minutes ahead or behind for a while, then right again."""
    world.machine.step_clock(dice.choice((600, -600)))
    await asyncio.sleep(dice.uniform(1, 3))
    world.machine.step_clock(0)


async def crowd(world: World, dice: random.Random) -> None:
    """Many peers that stall and trickle."""
    await slow_peers.crowd(world, dice, dice.uniform(2, 5))


async def bad_company(world: World, dice: random.Random) -> None:
    """A relay that takes mails and then drops the connection, a receiver that answers 500."""
    world.outside.refuse(dice.choice((3, 10)))
    await asyncio.sleep(dice.uniform(1, 3))
    world.outside.refuse(0)


async def kill_launcher(world: World, dice: random.Random) -> None:
    """kill -9 `leasebox up`, and start it again on the same home."""
    del dice
    await world.machine.fall()
    await world.machine.start()


async def drain(world: World, dice: random.Random) -> str | None:
    """SIGTERM, and start it again."""
    del dice
    status = await world.machine.stop()
    await world.machine.start()
    world.figures["drains"] += 1
    return None if status == 0 else f"SIGTERM ended with status {status}"


FAULTS: tuple[Fault, ...] = (
    *(Fault(f"kill {role}", "role", 3, partial(kill_role, role)) for role in ROLES),
    *(Fault(f"freeze, kill {role}", "role", 1, partial(freeze_and_kill_role, role)) for role in ROLES),
    *(
        Fault(f"kill {point.role} {side} “{point.name}”", "role", 1, partial(kill_at_commit, point, side))
        for point in gates.POINTS
        for side in gates.SIDES
    ),
    Fault("PostgreSQL immediate restart", "outage", 3, partial(signal_engine, "postgres", signal.SIGQUIT)),
    Fault("PostgreSQL SIGKILL", "outage", 3, partial(signal_engine, "postgres", signal.SIGKILL)),
    Fault("PostgreSQL silent", "outage", 2, partial(freeze_engine, "postgres")),
    Fault("Valkey SIGKILL", "outage", 3, partial(signal_engine, "valkey", signal.SIGKILL)),
    Fault("Valkey silent", "outage", 2, partial(freeze_engine, "valkey")),
    Fault("Valkey FLUSHALL", "outage", 5, flush_cache),
    Fault("full disk", "outage", 2, fill_disk),
    Fault("clock step", "nothing", 4, step_clock),
    Fault("crowd of slow peers", "nothing", 2, crowd),
    Fault("bad company", "nothing", 2, bad_company),
    Fault("launcher SIGKILL", "launcher", 2, kill_launcher),
    Fault("drain and start", "launcher", 1, drain),
)


def deck(dice: random.Random) -> list[Fault]:
    """Every fault as often as it must happen, shuffled."""
    cards = [fault for fault in FAULTS for _ in range(fault.times)]
    dice.shuffle(cards)
    return cards


def crowding() -> float:
    """How many times as long as on a machine of its own everything takes: 1 up to two runnable tasks a processor."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 2)


async def inject(world: World, fault: Fault, dice: random.Random) -> None:
    """Let it happen, then wait until the instance is ready again; both are in the journal."""
    began = time.time()
    await world.journal.note("breaks", fault=fault.name, breaks=fault.breaks)
    why = await fault.work(world, dice)
    ended = time.time()
    ready_s = await _until_ready(world)
    await world.journal.note(
        "fault",
        fault=fault.name,
        breaks=fault.breaks,
        began=began,
        ended=ended,
        ready_s=ready_s,
        undone=why or "",
        crowding=crowding(),
    )


async def _until_ready(world: World) -> float:
    """Seconds until readiness held for two looks; -1 if it did not come back."""
    began, held = time.monotonic(), 0
    first = 0.0
    while time.monotonic() - began < _LOST_S:
        looked = time.monotonic() - began
        if await world.machine.is_ready() and all(world.machine.roles().values()):
            first = first if held else looked
            held += 1
            if held == 2:
                return round(first, 3)
        else:
            held = 0
        await asyncio.sleep(0.05)
    return -1.0


def _engine_family(machine: Machine, name: str) -> list[int]:
    pid = machine.engine(name)
    return [] if pid is None else [pid, *offspring(pid)]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
