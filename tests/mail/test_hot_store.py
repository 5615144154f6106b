"""The quick statements behind the wall: one connection serves two tenants in turn."""

from tests import kit_mail
from tests.kit import House


async def test_each_tenant_sees_its_own_whoever_called_before(house: House) -> None:
    agents = [await house.agent(), await house.agent()]
    mailboxes = [(await each.lease())["mailbox_id"] for each in agents]
    for _ in range(3):
        for agent, own, foreign in zip(agents, mailboxes, reversed(mailboxes), strict=True):
            assert (await agent.http.get(f"/v2/messages?mailbox_id={own}")).status_code == 200
            assert (await agent.http.get(f"/v2/messages?mailbox_id={foreign}")).status_code == 404
            assert (await agent.http.get("/v2/messages")).json()["items"] == []


async def test_each_tenant_is_given_its_own_whoever_waited_before(house: House) -> None:
    agents = [await house.agent(), await house.agent()]
    leases = [await each.lease() for each in agents]
    async with kit_mail.receiving(house) as post:
        for number, lease in enumerate(leases):
            await post.deliver(kit_mail.code_mail(number), lease["address"])
    path = "/v2/messages/wait?timeout_s=1&since=2026-01-01T00:00:00Z&mailbox_id="
    for _ in range(3):
        for number, agent in enumerate(agents):
            answer = await agent.http.get(path + leases[number]["mailbox_id"])
            assert answer.json()["otp_code"] == f"48120{number}"
            assert (await agent.http.get(path + leases[1 - number]["mailbox_id"])).status_code == 404
