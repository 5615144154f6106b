"""The parser role: stored mails become messages; what waited before it came is not forgotten."""

import asyncio
import os
from pathlib import Path

from tests.kit import House
from tests.kit_mail import accepting, code_mail, messages_of
from tests.wiring.stage import serving


async def test_it_reads_what_waits_and_what_comes_and_drains(
    house: House, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    async with accepting(house) as post:
        assert (await post.send(code_mail(1), lease["address"])).startswith("250")
        assert await messages_of(agent) == []
        with serving("parser", database_url, redis_url, tmp_path) as role:
            await post.parsed()
            assert (await post.send(code_mail(2), lease["address"])).startswith("250")
            await post.parsed()
            priorities = [os.getpriority(os.PRIO_PROCESS, pid) for pid in (role.process.pid, os.getpid())]
            status, said = await asyncio.to_thread(role.stop)
    assert [each["otp_code"] for each in await messages_of(agent)] == ["481202", "481201"]
    assert (status, said) == (0, "")
    assert priorities[0] > priorities[1], "taking mail goes first"
