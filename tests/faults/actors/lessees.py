"""Agents that lease and read, pay when they must, send proofs twice, and repeat what they got no answer to."""

import asyncio

import httpx

from tests.faults.world import LEASES, MESSAGES, Box, Person, World


async def act(world: World) -> None:
    """Six of them; each keeps some of its mailboxes for good, so that mail has somewhere to go."""
    await asyncio.gather(*(_Lessee(world, number).live() for number in range(6)))


class _Lessee:
    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._name = f"lessee{number}"
        self._dice = world.dice(self._name)
        self._spent: list[str] = []

    async def live(self) -> None:
        self._person = await self._world.newcomer(self._name)
        while not self._world.over.is_set():
            acts = [self._keep, self._pass_through, self._pay_twice, self._pay_not, self._read, self._wait]
            await self._dice.choices(acts, _WEIGHTS)[0]()
            await self._world.pause(self._dice.uniform(0, 0.15))

    async def _keep(self) -> None:
        mine = [box for box in self._world.boxes if box.tenant_id == self._person.tenant_id]
        if len(mine) < 6 and (box := await self._person.lease()) is not None:
            self._world.boxes.append(box)

    async def _pass_through(self) -> None:
        """Lease, perhaps renew, and release."""
        box = await self._person.lease()
        if box is not None:
            if self._dice.random() < 0.3:
                await self._person.patiently("POST", f"{LEASES}/{box.lease_id}/renew", json={"ttl_hours": 700})
            await self._person.release(box)

    async def _pay_twice(self) -> None:
        """One proof on several calls at once, each of which is work of its own; sometimes an old one besides."""
        proof = await self._person.proof("POST", LEASES)
        if proof is None:
            return
        order = {"agent_id": self._person.agent_id, "purpose": "twice", "ttl_hours": 1}
        proofs = [proof] * self._dice.choice((2, 3)) + ([self._dice.choice(self._spent)] if self._spent else [])
        answers = await asyncio.gather(
            *(
                self._person.call("POST", LEASES, json=order, headers={"x-payment-proof": each}, proof=each)
                for each in proofs
            )
        )
        self._spent = [*self._spent[-20:], proof]
        for answer in answers:
            if answer is not None and answer.status_code == 201:
                await self._person.release(_box(answer, self._person))

    async def _pay_not(self) -> None:
        """A proof that nobody spends: what it holds comes back by itself."""
        await self._person.proof("GET", MESSAGES)

    async def _read(self) -> None:
        headers = {}
        if self._dice.random() < 0.5 and (proof := await self._person.proof("GET", MESSAGES)) is not None:
            headers["x-payment-proof"] = proof
        answer = await self._person.call("GET", MESSAGES, headers=headers)
        if answer is not None and answer.status_code == 200 and (items := answer.json()["items"]):
            one = self._dice.choice(items)
            await self._person.call("GET", f"{MESSAGES}/{one['message_id']}")

    async def _wait(self) -> None:
        mine = [box for box in self._world.boxes if box.tenant_id == self._person.tenant_id]
        if mine:
            asked = {"mailbox_id": self._dice.choice(mine).mailbox_id, "timeout_s": self._dice.choice((1, 3))}
            await self._person.call("GET", f"{MESSAGES}/wait", params=asked)


_WEIGHTS = [2, 3, 2, 1, 3, 2]


def _box(answer: httpx.Response, person: Person) -> Box:
    view = answer.json()
    return Box(view["address"], view["mailbox_id"], view["lease_id"], person.tenant_id)
