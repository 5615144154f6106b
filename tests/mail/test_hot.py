"""The list in one statement: as the slow way gives it, and a refused one costs nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from leasebox.mail import hot
from leasebox.mail.model import Query
from leasebox.values.ids import MailboxId, TenantId
from tests import kit_mail
from tests.kit import House

AT = datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)
QUERY = Query(tenant_id=TenantId.new(AT), within=None, at=AT, retention=timedelta(days=1))
USED = "SELECT coalesce(sum(used), 0) FROM allowance_counters WHERE meter = 'message.read'"


@pytest.mark.parametrize(
    "criterion",
    [{"since": AT}, {"text": "x"}, {"labels": ("unread",)}, {"direction": "inbound"}, {"within": frozenset()}],
    ids=["since", "text", "labels", "direction", "within"],
)
def test_only_the_plain_list_is_quick(criterion: dict[str, object]) -> None:
    plain = {"tenant_id": QUERY.tenant_id, "within": None, "at": AT, "retention": QUERY.retention}
    assert hot.lists(QUERY)
    assert hot.lists(Query(**plain, mailbox_id=MailboxId.new(AT)))
    assert not hot.lists(Query(**(plain | criterion)))


async def test_an_empty_list_is_admitted_and_a_refused_one_is_not(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    lease = await agent.lease()
    path = f"/v2/messages?mailbox_id={lease['mailbox_id']}"
    assert (await agent.http.get(path)).json() == {"items": [], "next_cursor": None}
    assert await house.db.read(lambda tx: tx.value(USED)) == 1
    assert (await other.http.get(path)).status_code == 404
    await house.db.transact(lambda tx: tx.run("UPDATE leases SET state = 'paused'"))
    assert (await agent.http.get(path)).json()["error"] == "mailbox_paused"
    await house.db.transact(lambda tx: tx.run("UPDATE leases SET frozen_at = now()"))
    assert (await agent.http.get(path)).json()["error"] == "mailbox_frozen"
    assert await house.db.read(lambda tx: tx.value(USED)) == 1


async def test_what_is_waited_for_is_admitted_once_it_is_there(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    wait = f"/v2/messages/wait?mailbox_id={lease['mailbox_id']}&since=2026-01-01T00:00:00Z&timeout_s=1"
    assert (await agent.http.get(wait)).status_code == 204
    assert await house.db.read(lambda tx: tx.value(USED)) == 0
    async with kit_mail.receiving(house) as post:
        await post.deliver(kit_mail.code_mail(1), lease["address"])
        await post.deliver(kit_mail.code_mail(2), lease["address"])
    for turn in (1, 2):
        answer = await agent.http.get(wait)
        assert (answer.status_code, answer.json()["otp_code"]) == (200, "481201")
        assert await house.db.read(lambda tx: tx.value(USED)) == turn
    events = "SELECT count(*) FROM usage_events WHERE path = '/v2/messages/wait' AND amount_micros = 0"
    assert await house.db.read(lambda tx: tx.value(events)) == 2
    assert (await agent.http.get(f"{wait}&has=link")).status_code == 204
    await house.db.transact(lambda tx: tx.run("UPDATE leases SET state = 'paused'"))
    assert (await agent.http.get(wait)).json()["error"] == "mailbox_paused"
    assert await house.db.read(lambda tx: tx.value(USED)) == 2
