"""The statement of the quick list behind the wall: one connection serves two tenants in turn."""

from tests.kit import House


async def test_each_tenant_sees_its_own_whoever_called_before(house: House) -> None:
    agents = [await house.agent(), await house.agent()]
    mailboxes = [(await each.lease())["mailbox_id"] for each in agents]
    for _ in range(3):
        for agent, own, foreign in zip(agents, mailboxes, reversed(mailboxes), strict=True):
            assert (await agent.http.get(f"/v2/messages?mailbox_id={own}")).status_code == 200
            assert (await agent.http.get(f"/v2/messages?mailbox_id={foreign}")).status_code == 404
            assert (await agent.http.get("/v2/messages")).json()["items"] == []
