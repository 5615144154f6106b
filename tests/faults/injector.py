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

from tests.fakes.relay import HANG, MUTE
from tests.faults import gates, outside
from tests.faults.actors import senders, slow_peers
from tests.faults.machine import ROLES, Machine
from tests.faults.postman import LOST, Letter, Session, reached
from tests.faults.share import Share
from tests.faults.world import World
from tests.infra.homes import offspring

Work = Callable[[World, random.Random], Awaitable[str | None]]
# For how long we wait to see it ready at all.
_LOST_S = 60.0
_LOOK_S = 0.05


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


async def kill_nursery(world: World, dice: random.Random) -> str | None:
    """kill -9 the process from which roles are forked, and right after it a role that must be started without it."""
    pid = world.machine.nursery()
    if pid is None:
        return "roles are not forked here"
    family = world.machine.family(dice.choice(ROLES))
    await gates.kill_all([pid, *family])
    return None


async def kill_in_data(world: World, dice: random.Random) -> str | None:
    """kill -9 the smtp role when it has half of a mail's content; the mail must never be seen."""
    session = await reached(world, Session.open(world))
    if session is None or not world.boxes:
        return "nobody to send to"
    letter = Letter(token := world.token("half"), senders.content(token, dice), [dice.choice(world.boxes).address])
    await world.journal.note("halved", token=token, to=list(letter.to))
    try:
        said = await session.half(letter)
    except LOST as fault:
        said = type(fault).__name__
    await asyncio.sleep(dice.uniform(0, 0.1))
    await gates.kill_all(world.machine.family("smtp"))
    session.leave()
    return None if said.startswith("354") else f"not let in: {said}"


async def kill_in_delivery(world: World, dice: random.Random) -> str | None:
    """kill -9 the worker when a receiver has a webhook's request and has not answered."""
    if not await world.outside.holds_a_request():
        return "no webhook was due"
    await asyncio.sleep(dice.uniform(0, 0.1))
    await gates.kill_all(world.machine.family("worker"))
    return None


async def kill_in_relay(world: World, dice: random.Random) -> str | None:
    """kill -9 the worker when the relay has a mail and has not answered; whether it keeps it, only the relay knows."""
    if not await world.outside.holds_a_mail(dice.choice((HANG, MUTE))):
        return "no mail was due"
    await asyncio.sleep(dice.uniform(0, 0.1))
    await gates.kill_all(world.machine.family("worker"))
    world.outside.relay.let_go()
    return None


async def signal_engine(name: str, number: signal.Signals, world: World, dice: random.Random) -> str | None:
    """SIGKILL; SIGTERM; or SIGQUIT: PostgreSQL's immediate shutdown."""
    del dice
    pid = world.machine.engine(name)
    if pid is None:
        return f"{name} does not run"
    _signal(pid, number)
    return None


async def withhold_engine(name: str, world: World, dice: random.Random) -> None:
    """Kill an engine as soon as it appears, for some seconds: there is nobody to connect to."""
    end = time.monotonic() + dice.uniform(2, 4)
    while time.monotonic() < end:
        if (pid := world.machine.engine(name)) is not None:
            _signal(pid, signal.SIGKILL)
        await asyncio.sleep(0.01)


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
        await asyncio.sleep(dice.uniform(2, 5))
    finally:
        ballast.unlink()
    return None


async def step_clock(seconds: float, world: World, dice: random.Random) -> None:
    """The clock is that far ahead for a while, then right again."""
    world.machine.step_clock(seconds)
    await asyncio.sleep(dice.uniform(1, 3))
    world.machine.step_clock(0)


async def crowd(world: World, dice: random.Random) -> None:
    """Many peers that stall and trickle."""
    await slow_peers.crowd(world, dice, dice.uniform(2, 5))


async def bad_company(how: str, world: World, dice: random.Random) -> None:
    """A relay and a receiver that misbehave."""
    world.outside.misbehave(how, dice.choice((3, 10)))
    await asyncio.sleep(dice.uniform(0.5, 2))
    world.outside.misbehave(how, 0)


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
    *(Fault(f"freeze, kill {role}", "role", 2, partial(freeze_and_kill_role, role)) for role in ROLES),
    *(
        Fault(f"kill {point.role} {side} “{point.name}”", "role", 2, partial(kill_at_commit, point, side))
        for point in gates.POINTS
        for side in gates.SIDES
    ),
    Fault("PostgreSQL immediate restart", "outage", 3, partial(signal_engine, "postgres", signal.SIGQUIT)),
    Fault("PostgreSQL SIGKILL", "outage", 3, partial(signal_engine, "postgres", signal.SIGKILL)),
    Fault("PostgreSQL silent", "outage", 2, partial(freeze_engine, "postgres")),
    Fault("PostgreSQL absent", "outage", 2, partial(withhold_engine, "postgres")),
    Fault("Valkey restart", "outage", 3, partial(signal_engine, "valkey", signal.SIGTERM)),
    Fault("Valkey SIGKILL", "outage", 3, partial(signal_engine, "valkey", signal.SIGKILL)),
    Fault("Valkey silent", "outage", 2, partial(freeze_engine, "valkey")),
    Fault("Valkey absent", "outage", 2, partial(withhold_engine, "valkey")),
    Fault("Valkey FLUSHALL", "outage", 5, flush_cache),
    Fault("full disk", "outage", 3, fill_disk),
    Fault("kill nursery and a role", "role", 3, kill_nursery),
    Fault("kill smtp in the middle of DATA", "role", 3, kill_in_data),
    Fault("kill worker in the middle of a delivery", "role", 3, kill_in_delivery),
    Fault("kill worker in the middle of a relay", "role", 3, kill_in_relay),
    Fault("clock ten minutes ahead", "nothing", 3, partial(step_clock, 600.0)),
    Fault("clock ten minutes behind", "nothing", 3, partial(step_clock, -600.0)),
    Fault("crowd of slow peers", "nothing", 3, crowd),
    *(Fault(f"receiver and relay {how}", "nothing", 2, partial(bad_company, how)) for how in outside.MANNERS),
    Fault("launcher SIGKILL", "launcher", 2, kill_launcher),
    Fault("drain and start", "launcher", 2, drain),
)


def deck(dice: random.Random) -> list[Fault]:
    """Every fault as often as it must happen: all of them once, then again those that must, each round shuffled."""
    cards: list[Fault] = []
    for turn in range(max(fault.times for fault in FAULTS)):
        due = [fault for fault in FAULTS if fault.times > turn]
        cards += dice.sample(due, len(due))
    return cards


async def inject(world: World, fault: Fault, dice: random.Random) -> str:
    """Let it happen, then wait until the instance is ready again; both are in the journal. Why it could not be done."""
    began = time.time()
    await world.journal.note("breaks", fault=fault.name, breaks=fault.breaks)
    why = await fault.work(world, dice)
    ended = time.time()
    share = Share()
    ready_s = await _until_ready(world, share)
    await world.journal.note(
        "fault",
        fault=fault.name,
        breaks=fault.breaks,
        began=began,
        ended=ended,
        ready_s=ready_s,
        undone=why or "",
        others=round(share.others(), 3),
    )
    return why or ""


async def _until_ready(world: World, share: Share) -> float:
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
        share.look()
        await asyncio.sleep(_LOOK_S)
    return -1.0


def _engine_family(machine: Machine, name: str) -> list[int]:
    pid = machine.engine(name)
    return [] if pid is None else [pid, *offspring(pid)]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
