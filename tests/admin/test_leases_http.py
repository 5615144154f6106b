"""Freezing, unfreezing and releasing any tenant's lease: what its lessee and its senders feel."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests import kit_mail
from tests.admin.desk import actor, admin, audited, said, tenant_of
from tests.kit import House
from tests.kit_mail import Post, mail


@pytest.fixture
async def post(run: House) -> AsyncIterator[Post]:
    """The instance with mail coming in."""
    async with kit_mail.receiving(run) as one:
        yield one


async def act(http: httpx.AsyncClient, lease: dict[str, str], verb: str, note: str = "") -> httpx.Response:
    return await http.post(f"/v2/admin/leases/{lease['lease_id']}/{verb}", json={"note": note})


async def test_a_frozen_lease_takes_no_mail_and_shows_none(post: Post, owner: httpx.AsyncClient) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    await post.deliver(mail(), lease["address"])
    query = {"mailbox_id": lease["mailbox_id"]}
    assert len((await said(await agent.http.get("/v2/messages", params=query)))["items"]) == 1
    told = await said(await act(owner, lease, "freeze"))
    assert (told["lease_status"], told["frozen_at"] is not None) == ("frozen", True)
    refused = await agent.http.get("/v2/messages", params=query)
    assert (refused.status_code, refused.json()["error"]) == (403, "mailbox_frozen")
    assert (await post.rcpt(lease["address"])).startswith("550 5.2.1")
    renewed = await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/renew", json={"ttl_hours": 2})
    assert renewed.status_code == 403
    told = await said(await act(owner, lease, "unfreeze"))
    assert (told["lease_status"], told["frozen_at"]) == ("active", None)
    assert (await post.rcpt(lease["address"])).startswith("250")
    assert len((await said(await agent.http.get("/v2/messages", params=query)))["items"]) == 1


async def test_each_change_is_one_audit_row(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    lease = await agent.lease()
    for verb in ("freeze", "freeze", "unfreeze", "unfreeze", "release", "release"):
        assert (await act(owner, lease, verb, note="why")).status_code == 200
    rows = await audited(run, resource=lease["lease_id"])
    assert [row["action"] for row in rows] == ["lease.freeze", "lease.unfreeze", "lease.release"]
    assert {(row["actor"], row["detail"]["note"]) for row in rows} == {(actor(), "why")}
    assert {str(row["tenant_id"]) for row in rows} != {"None"}
    assert rows[0]["detail"]["frozen_at"] == rows[1]["detail"]["was_frozen_at"]


async def test_of_two_admins_who_freeze_at_once_one_is_written_down(run: House) -> None:
    lease = await (await run.agent()).lease()
    one, other = await admin(run, "owner"), await admin(run, "operator")
    answers = await asyncio.gather(*(act(http, lease, "freeze") for http in [one, other] * 10))
    assert {each.status_code for each in answers} == {200}
    assert len({each.json()["frozen_at"] for each in answers}) == 1
    assert len(await audited(run, action="lease.freeze")) == 1


async def test_release_ends_the_lease_for_its_tenant(post: Post, owner: httpx.AsyncClient) -> None:
    agent = await post.house.agent()
    lease = await agent.lease()
    assert (await said(await act(owner, lease, "release")))["lease_status"] == "released"
    mine = await said(await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}"))
    assert mine["lease_status"] == "released"
    assert (await post.rcpt(lease["address"])).startswith("550 5.2.1")


async def test_a_frozen_lease_that_is_released_stays_unreadable_and_keeps_its_name(
    run: House, owner: httpx.AsyncClient
) -> None:
    agent = await run.agent()
    lease = await agent.lease(local_part="held")
    await said(await act(owner, lease, "freeze"))
    told = await said(await act(owner, lease, "release"))
    assert (told["lease_status"], told["frozen_at"] is not None) == ("released", True)
    again = await agent.ask_lease(local_part="held")
    assert (again.status_code, again.json()["error"]) == (409, "address_taken")
    query = {"mailbox_id": lease["mailbox_id"]}
    assert (await agent.http.get("/v2/messages", params=query)).json()["error"] == "mailbox_frozen"
    await said(await act(owner, lease, "unfreeze"))
    assert (await agent.ask_lease(local_part="held")).status_code == 201


async def test_an_old_lease_never_touches_a_newer_one(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    old = await agent.lease(local_part="twice")
    await agent.http.post(f"/v2/mailboxes/leases/{old['lease_id']}/release")
    new = await agent.lease(local_part="twice")
    assert (await act(owner, old, "release")).status_code == 200
    assert (await act(owner, old, "freeze")).status_code == 200
    mine = await said(await agent.http.get(f"/v2/mailboxes/leases/{new['lease_id']}"))
    assert mine["lease_status"] == "active"


async def test_the_list_filters_by_tenant_address_and_status(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    leases = [await agent.lease() for _ in range(3)]
    theirs = await other.lease(local_part="theirs")
    await said(await act(owner, leases[0], "freeze"))
    await agent.http.post(f"/v2/mailboxes/leases/{leases[1]['lease_id']}/pause")
    await said(await act(owner, leases[2], "release"))

    async def found(**params: str) -> list[str]:
        return [each["lease_id"] for each in (await said(await http.get("/v2/admin/leases", params=params)))["items"]]

    http = owner
    assert await found() == [theirs["lease_id"], *(each["lease_id"] for each in leases[::-1])]
    assert await found(tenant_id=tenant_of(agent)) == [each["lease_id"] for each in leases[::-1]]
    assert await found(address="THEIRS@inbox.leasebox.test") == [theirs["lease_id"]]
    for status, wanted in (("frozen", leases[0]), ("paused", leases[1]), ("released", leases[2]), ("active", theirs)):
        assert await found(status=status) == [wanted["lease_id"]], status
    run.clock.advance(hours=2)
    http = await admin(run)
    assert await found(status="active") == []
    assert set(await found(status="expired")) == {each["lease_id"] for each in (theirs, *leases[:2])}


@pytest.mark.parametrize("verb", ["freeze", "unfreeze", "release"])
async def test_an_unknown_lease_is_a_404(run: House, owner: httpx.AsyncClient, verb: str) -> None:
    for lease_id in ("lse_" + "0" * 26, "nothing"):
        assert (await act(owner, {"lease_id": lease_id}, verb)).status_code == 404
    assert await audited(run) == []


async def test_an_address_that_is_none_is_a_400(run: House, owner: httpx.AsyncClient) -> None:
    for address in ("no address", "\x00", "a\x00@b.example"):
        assert (await owner.get("/v2/admin/leases", params={"address": address})).status_code == 400
