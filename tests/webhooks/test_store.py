"""What the statements about endpoints promise: tenants apart, one present secret, no more than so many."""

from leasebox.infra import wall
from leasebox.values.ids import TenantId, WebhookId
from leasebox.webhooks import store
from leasebox.webhooks.model import SealedSecret
from tests import kit_mail
from tests.kit import House
from tests.webhooks.hooks import hook, tenant_of

URL = "https://hooks.example/in"


async def test_another_tenants_endpoint_is_not_found_locked_or_deleted(run: House) -> None:
    agent, other = await run.agent(), await run.agent()
    made = WebhookId.parse((await hook(agent, URL))["webhook_id"])
    stranger = tenant_of(other)
    assert await run.db.read(lambda tx: store.find(tx, stranger, None, made)) is None
    with wall.behind(stranger):
        assert await run.db.transact(lambda tx: store.lock_lane(tx, made)) == 0
    assert await run.db.transact(lambda tx: store.delete(tx, stranger, made)) == 0
    with wall.behind(tenant_of(agent)):
        assert await run.db.transact(lambda tx: store.lock_lane(tx, made)) == 1
    assert await run.db.read(lambda tx: store.listed(tx, stranger, None, None, 10)) == []
    found = await run.db.read(lambda tx: store.listed_any(tx, None, "enabled", None, None, 10))
    assert [each.tenant_id for each in found] == [tenant_of(agent)]
    assert await run.db.read(lambda tx: store.listed_any(tx, TenantId(int=0), None, None, None, 10)) == []


async def test_one_secret_is_present_and_old_ones_are_forgotten_in_time(run: House) -> None:
    agent = await run.agent()
    made = WebhookId.parse((await hook(agent, URL))["webhook_id"])
    now = run.clock.now()
    for number in (2, 3):
        sealed = SealedSecret(number, "kid", b"sealed")
        await run.db.transact(lambda tx, sealed=sealed: store.add_secret(tx, made, sealed, now))  # type: ignore[misc]
    assert await run.db.read(lambda tx: store.live_secrets(tx, made, now)) == (1, 3)
    assert await run.db.transact(lambda tx: store.forget_secrets(tx, now)) == 2
    left = await kit_mail.rows(run, "SELECT number, expires_at FROM webhook_secrets")
    assert [(row["number"], row["expires_at"]) for row in left] == [(3, None)]
    (stored,) = await run.db.transact(lambda tx: store.sealed_otherwise(tx, "another", None, 10))
    assert (stored.key, stored.kid, stored.sealed) == ((made, 3), "kid", b"sealed")


async def test_disabling_and_enabling_twice_changes_nothing_more(run: House) -> None:
    agent = await run.agent()
    made = WebhookId.parse((await hook(agent, URL))["webhook_id"])
    first = run.clock.now()
    assert await run.db.transact(lambda tx: store.disable(tx, made, "failing", first)) == (1, 0)
    run.clock.advance(hours=1)
    assert await run.db.transact(lambda tx: store.disable(tx, made, "gone", run.clock.now())) == (0, 0)
    (found,) = await run.db.read(lambda tx: store.listed_any(tx, None, "disabled", None, made, 1))
    assert (found.disabled_reason, found.disabled_at) == ("failing", first)
    assert await run.db.transact(lambda tx: store.enable(tx, made)) == 1
    assert await run.db.transact(lambda tx: store.enable(tx, made)) == 0
