"""SQL of denied domains."""

import asyncio

from leasebox.mail import denials_store
from tests.kit import House


async def test_of_many_who_add_a_domain_one_does(house: House) -> None:
    now = house.clock.now()

    async def add(n: int) -> int:
        return await house.db.transact(lambda tx: denials_store.add(tx, "sender", "a.example", f"n{n}", "x", now))

    assert sum(await asyncio.gather(*(add(n) for n in range(10)))) == 1
    assert await house.db.read(lambda tx: denials_store.domains(tx, "sender")) == ["a.example"]
    assert await house.db.read(lambda tx: denials_store.domains(tx, "recipient")) == []
    dropped = [await house.db.transact(lambda tx: denials_store.drop(tx, "sender", "a.example")) for _ in range(2)]
    assert dropped[0] is not None
    assert dropped[0].startswith("n")
    assert dropped[1] is None
