"""The worker role: what is due because time passed is done soon after it starts."""

import asyncio
from pathlib import Path

import pytest

from leasebox.wiring import worker
from tests.kit import House
from tests.kit_mail import code_mail, receiving, until
from tests.wiring.stage import serving

OVER = "UPDATE leases SET expires_at = now() - interval '80 hours', started_at = now() - interval '90 hours'"
OLD = "UPDATE sessions SET expires_at = now() - interval '2 days'"


async def test_it_erases_mail_whose_retention_is_over_and_old_sessions_and_drains(
    house: House, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    async with receiving(house) as post:
        await post.deliver(code_mail(1), lease["address"])
    await house.db.transact(lambda tx: tx.run(OVER))
    await house.db.transact(lambda tx: tx.run(OLD))

    async def counts(*tables: str) -> list[int]:
        return [int(await house.db.read(lambda tx, t=table: tx.value(f"SELECT count(*) FROM {t}"))) for table in tables]  # type: ignore[misc]

    async def tidy() -> bool:
        return await counts("messages", "mails", "mail_bodies", "sessions") == [0, 0, 0, 0]

    assert await counts("messages", "mails", "sessions") == [1, 1, 1]
    with serving("worker", database_url, redis_url, tmp_path) as role:
        await until(tidy)
        status, said = await asyncio.to_thread(role.stop)
    assert await counts("leases") == [1]
    assert (status, said) == (0, "")


async def test_its_jobs_begin_one_after_the_other_and_the_first_fault_is_told() -> None:
    begun: list[int] = []

    async def job(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise RuntimeError("it fell")

    running = asyncio.create_task(worker.apart(*(job(number) for number in range(3))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert begun in ([], [0])
    with pytest.raises(RuntimeError, match="it fell"):
        await running
    assert begun == [0, 1, 2]
