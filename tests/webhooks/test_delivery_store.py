"""What the statements about single deliveries promise their callers."""

from leasebox.values.ids import DeliveryId, WebhookId, lowest_id
from leasebox.webhooks import delivery_store
from leasebox.webhooks.model import WIDTH_NEW, DeliveryFilter
from tests.kit import House
from tests.webhooks.hooks import ScriptedPoster, Works, deliveries_of, hook, tell, tenant_of


async def test_only_what_has_ended_is_sent_again(run: House) -> None:
    agent, works = await run.agent(), Works(run, ScriptedPoster(200))
    made = WebhookId.parse((await hook(agent, "http://127.0.0.1:8001/x"))["webhook_id"])
    await tell(run, agent, count=2)
    await works.publish()
    assert len(await works.runner._claim(1)) == 1
    now, tenant_id = run.clock.now(), tenant_of(agent)
    found = await deliveries_of(agent)
    assert sorted(each["state"] for each in found) == ["delivering", "pending"]
    for each in found:
        one = DeliveryId.parse(each["delivery_id"])
        again = await run.db.transact(
            lambda tx, one=one: delivery_store.send_again(tx, tenant_id, made, one, now)  # type: ignore[misc]
        )
        assert again == 0
    span = (tenant_id, made, lowest_id(now.replace(year=2020)), lowest_id(now.replace(year=2040)))
    assert await run.db.transact(lambda tx: delivery_store.replay(tx, *span, now)) == 0
    assert await run.db.read(lambda tx: delivery_store.count_window(tx, *span, 10)) == 2
    assert await run.db.read(lambda tx: delivery_store.count_window(tx, *span, 1)) == 1


async def test_lists_are_of_one_tenant_unless_all_are_asked_for(run: House) -> None:
    agent, other, works = await run.agent(), await run.agent(), Works(run, ScriptedPoster(200))
    for each in (agent, other):
        await hook(each, "http://127.0.0.1:8001/x")
        await tell(run, each, count=WIDTH_NEW)
    await works.step()

    async def count(wanted: DeliveryFilter) -> int:
        return len(await run.db.read(lambda tx: delivery_store.listed(tx, wanted, None, 100)))

    assert await count(DeliveryFilter(tenant_of(agent))) == WIDTH_NEW
    assert await count(DeliveryFilter(None)) == 2 * WIDTH_NEW
    assert await count(DeliveryFilter(None, event_type="otp.extracted")) == 0
    assert await count(DeliveryFilter(tenant_of(agent), within=[])) == 0
    (one, *_) = await deliveries_of(agent)
    wanted = DeliveryId.parse(one["delivery_id"])
    theirs = await run.db.read(lambda tx: delivery_store.attempts(tx, tenant_of(other), wanted))
    assert theirs == []
    mine = await run.db.read(lambda tx: delivery_store.attempts(tx, tenant_of(agent), wanted))
    assert [each.status_code for each in mine] == [200]
