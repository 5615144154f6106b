"""Peers that connect and then stall, trickle, or go away in the middle of a word, at SMTP and at HTTP."""

import asyncio
import contextlib
import random

from tests.faults.world import World

_HTTP = (
    b"POST /v2/auth/siwe/challenge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
)
_SMTP = b"EHLO slow.example\r\nMAIL FROM:<a@slow.example>\r\nRCPT TO:<nobody@inbox.leasebox.test>\r\nDATA\r\n"


async def act(world: World) -> None:
    """A few at any time."""
    await asyncio.gather(*(_haunt(world, world.dice(f"slow{number}")) for number in range(6)))


async def crowd(world: World, dice: random.Random, seconds: float) -> None:
    """Eighty at once, for some seconds."""
    await asyncio.gather(*(_visit(world, random.Random(dice.random()), seconds) for _ in range(80)))


async def _haunt(world: World, dice: random.Random) -> None:
    while not world.over.is_set():
        await _visit(world, dice, dice.uniform(1, 6))


async def _visit(world: World, dice: random.Random, seconds: float) -> None:
    place, words = dice.choice([(world.machine.http, _HTTP), (world.machine.smtp, _SMTP)])
    writer = None
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(*place)
            cut = dice.randrange(len(words))
            writer.write(words[:cut])
            while not writer.is_closing():
                await asyncio.sleep(dice.choice((0.2, 0.5, 60)))
                writer.write(words[cut : cut + 1] or b"x")
                cut += 1
    if writer is not None:
        writer.transport.abort()
    else:
        await world.pause(0.2)
