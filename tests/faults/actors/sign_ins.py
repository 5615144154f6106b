"""Wallets that sign in for the first time, and whoever overheard them, with the very same words."""

import asyncio

import httpx

from tests.faults.world import Person, World
from tests.kit import sign


async def act(world: World) -> None:
    """A new wallet every second or so, each of whose signatures is sent three times at once."""
    dice = world.dice("sign-ins")
    while not world.over.is_set():
        person = Person(world, dice)
        made = await person.call("POST", "/v2/auth/siwe/challenge", json={"wallet_address": person.wallet.address})
        if made is not None and made.status_code == 200:
            await _overheard(person, made)
        await person.leave()
        await world.pause(dice.uniform(0.3, 1.2))


async def _overheard(person: Person, made: httpx.Response) -> None:
    message, nonce = made.json()["message"], made.json()["nonce"]
    body = {"message": message, "signature": sign(person.wallet, message)}
    said = [person.call("POST", "/v2/auth/siwe/verify", json=body, nonce=nonce) for _ in range(3)]
    answers = await asyncio.gather(*said)
    person.world.figures["sign-ins"] += sum(each is not None and each.status_code == 200 for each in answers)
