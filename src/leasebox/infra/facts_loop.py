"""The worker's loop over new facts: number them, and hand them out to whoever keeps books of its own on them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from leasebox.infra import facts_order, log, metrics
from leasebox.infra.db import Database, Tx
from leasebox.infra.facts_order import BATCH
from leasebox.values.errors import Unavailable

FanOut = Callable[[Tx], Awaitable[int]]
"""Handles facts behind a position that it remembers itself, at most `BATCH` of them; how many those were."""

_LOOK_AGAIN_S = 1.0
# From one round to the next: a round costs the same for one fact as for ten, and at 50 a second nobody waits for it.
_APART_S = 0.008


async def run(db: Database, fan_outs: Sequence[FanOut], woken: asyncio.Event, stop: asyncio.Event) -> None:
    """Publish facts until `stop`. woken: set by `facts_log.WAKE_NEW_FACTS`; a lost wake-up costs a second.

    A fan-out that fails is logged and tried again, and holds up neither the numbering nor whoever reads by position.
    """
    now = asyncio.get_running_loop().time
    while not stop.is_set():
        woken.clear()
        due = now() + _APART_S
        try:
            more = await publish(db, fan_outs)
        except Unavailable:
            log.get("worker").warning("database away", job="facts")
            more = await _rest(stop)
        except Exception:  # noqa: BLE001 - a mistake of one fan-out must not stop everybody's facts
            log.get("worker").exception("facts not handed out")
            more = await _alone(db, stop)
        if not more:
            await _idle(woken, stop)
            await asyncio.sleep(due - now())


async def publish(db: Database, fan_outs: Sequence[FanOut]) -> bool:
    """One round, in one transaction; whether there may be more to do at once. Raises Unavailable."""

    async def body(tx: Tx) -> list[int]:
        return [await facts_order.number(tx), *[await fan_out(tx) for fan_out in fan_outs]]

    handled = await db.transact(body)
    metrics.FACTS.inc(handled[0])
    return max(handled) >= BATCH


async def _alone(db: Database, stop: asyncio.Event) -> bool:
    try:
        await publish(db, ())
    except Unavailable:
        log.get("worker").warning("database away", job="facts")
    return await _rest(stop)


async def _rest(stop: asyncio.Event) -> bool:
    """Wait a little whatever happens, so that a fault that lasts fills no log; then the next round is due."""
    await _first_of(stop)
    return True


async def _idle(woken: asyncio.Event, stop: asyncio.Event) -> None:
    await _first_of(woken, stop)


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
