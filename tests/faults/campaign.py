"""One campaign: an instance, its people, faults for so many minutes, quiet, and what the oracles say of it."""

import asyncio
import contextlib
import importlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from leasebox.infra.db import Database
from leasebox.values.errors import Unavailable
from tests.faults import census, figures, gates, injector, oracles, witnesses
from tests.faults.injector import Fault
from tests.faults.journal import Journal
from tests.faults.machine import ROLES, Machine, pss_mib
from tests.faults.oracles import Row
from tests.faults.outside import Outside
from tests.faults.world import World

ACTORS = tuple(sorted(path.stem for path in (Path(__file__).parent / "actors").glob("[a-z]*.py")))
_HEADS_EVERY_S = 12.0
_MEMORY_EVERY_S = 2.0
# A process that has just started still grows into its work.
_GROWN_S = 30.0
_ENDOWED = dict.fromkeys(("author0", "author1", "submitter0", "submitter1"), "100")
_ENDOWED |= dict.fromkeys(("lessee0", "lessee1", "lessee2"), "20")


class Plan(msgspec.Struct, frozen=True):
    """faults: what must happen, in this order; then more of them until the minutes are over. pause_s: between two.

    ease: as in `World`. most: minutes after which none begins any more, even if some of them are left.
    """

    seed: int
    minutes: float
    faults: list[Fault]
    pause_s: float = 0.5
    ease: float = 1
    most: float = float("inf")


class Verdict(msgspec.Struct):
    """offences: by oracle, those without any included. memory: MiB of each role's longest life: first, last, hours."""

    seed: int
    offences: dict[str, list[Row]]
    figures: dict[str, float]
    faults: list[dict[str, Any]]
    memory: dict[str, tuple[float, float, float]]

    @property
    def is_clean(self) -> bool:
        return not any(self.offences.values())


async def run(place: Path, plan: Plan, tell: Callable[[str], None]) -> Verdict:
    """Run it; the journal and the instance's log stay in `place`."""
    journal = Journal(place / "journal")
    heads = place / "heads"
    heads.mkdir()
    async with Outside(journal).open() as outside:
        world = World(Machine(place, **outside.settings), outside, journal, plan.seed, plan.ease)
        try:
            return await _run(world, plan, tell, heads)
        finally:
            for person in world.people:
                await person.leave()
            journal.close()
            world.machine.remove()


async def _run(world: World, plan: Plan, tell: Callable[[str], None], heads: Path) -> Verdict:
    await world.machine.start()
    connection = await world.machine.database()
    await gates.install(connection)
    await connection.close()
    scales = Scales(world.machine)
    async with _working(world, scales, heads):
        await _endow_some(world)
        await _inject_all(world, plan, tell)
    tell("quiet")
    return await _judge(world, plan, scales, heads)


@contextlib.asynccontextmanager
async def _working(world: World, scales: "Scales", heads: Path) -> AsyncIterator[None]:
    """All actors at work; when the context ends they finish what they have begun."""
    acts = [importlib.import_module(f"tests.faults.actors.{name}").act(world) for name in ACTORS]
    tasks = [asyncio.create_task(each) for each in (*acts, _keep_heads(world, heads), scales.watch(world.over))]
    try:
        yield
    finally:
        world.over.set()
        async with asyncio.timeout(90):
            await asyncio.gather(*tasks)


async def _endow_some(world: World) -> None:
    """Some tenants have a balance, those who write for the whole campaign; the others only their credit."""
    while len({person.name for person in world.people if person.tenant_id} & _ENDOWED.keys()) < len(_ENDOWED):
        await asyncio.sleep(0.1)
    database = await census.database_of(world.machine)
    for person in world.people:
        if person.name in _ENDOWED:
            await census.endow(database, person, _ENDOWED[person.name])
    await database.close()
    await asyncio.sleep(2)


async def _inject_all(world: World, plan: Plan, tell: Callable[[str], None]) -> None:
    dice = world.dice("faults")
    began = time.monotonic()
    end, latest = began + plan.minutes * 60, began + plan.most * 60
    left, late = list(plan.faults), Counter[str]()
    while (left or time.monotonic() < end) and time.monotonic() < latest:
        fault = left.pop(0) if left else dice.choice(injector.FAULTS)
        tell(f"{len(left)} to come · {fault.name}")
        if await injector.inject(world, fault, dice) and late[fault.name] < fault.times:
            late[fault.name] += 1
            left.append(fault)  # nobody came; later somebody may
        await asyncio.sleep(dice.uniform(0, 2 * plan.pause_s))
    world.figures["faults left out for want of time"] = len(left)


async def _keep_heads(world: World, folder: Path) -> None:
    while not world.over.is_set():
        await census.export_heads(world, folder)
        await world.pause(_HEADS_EVERY_S)


async def _judge(world: World, plan: Plan, scales: "Scales", heads: Path) -> Verdict:
    database = await _patient_database(world.machine)
    await _quiet(world, database)
    await world.outside.write_down()
    evidence = await census.take(world, database)
    await census.verify_audit(world, heads)
    await census.bill(database)
    await _quiet(world, database)  # invoices are facts, too
    evidence.entries = list(world.journal.entries())
    offences = await oracles.ask_all(database) | witnesses.ask_all(evidence)
    await database.close()
    faults = [entry for entry in evidence.entries if entry["what"] == "fault"]
    return Verdict(plan.seed, offences, figures.of(world, evidence, faults), faults, scales.growth())


async def _quiet(world: World, database: Database) -> None:
    if not await census.quiet(database):
        await world.journal.note("wrong", who="quiet", said="mails or facts still wait after a minute")


async def _patient_database(machine: Machine) -> Any:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Unavailable):
                return await census.database_of(machine)
            await asyncio.sleep(0.2)


class Scales:
    """Weighs every process of every role now and then."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._lives: dict[tuple[str, int], list[tuple[float, float]]] = {}

    async def watch(self, over: asyncio.Event) -> None:
        """Until it is over."""
        while not over.is_set():
            for role in ROLES:
                for pid in self._machine.roles()[role]:
                    weighed = await asyncio.to_thread(pss_mib, pid)
                    self._lives.setdefault((role, pid), []).append((time.monotonic(), weighed))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MEMORY_EVERY_S):
                    await over.wait()

    def growth(self) -> dict[str, tuple[float, float, float]]:
        """Of each role's longest life: MiB once it had settled, MiB at its end, hours in between."""
        found: dict[str, tuple[float, float, float]] = {}
        for (role, _), points in self._lives.items():
            settled = [point for point in points if point[0] - points[0][0] >= _GROWN_S] or points[-1:]
            hours = (settled[-1][0] - settled[0][0]) / 3600
            if role not in found or hours > found[role][2]:
                found[role] = (settled[0][1], settled[-1][1], hours)
        return found
