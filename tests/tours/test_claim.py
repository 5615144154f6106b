"""A tour: an agent without a wallet claims a mailbox, a person approves, it sends a little, binds a wallet, is free."""

from eth_account import Account

from leasebox.sending import cooldown
from leasebox.sending.errors import CooldownLimit
from leasebox.values.ids import TenantId
from tests.claiming import bind, poll, press, start
from tests.kit import House


async def test_from_a_claim_to_a_wallet(house: House) -> None:
    # An agent without a wallet asks for a mailbox, and gives its person the link.
    claim = await start(house, "my-agent")
    assert (await poll(house, claim))["status"] == "pending"

    # The person opens it and approves.
    assert (await press(house, claim, "approve")).status_code == 303

    # The agent fetches its key, once, and has a mailbox.
    view = await poll(house, claim)
    tenant_id = TenantId.parse(view["tenant_id"])
    async with house.client({"authorization": f"Bearer {view['api_key']}"}) as http:
        mailbox = (await http.get(f"/v2/mailboxes/accounts/{view['mailbox_id']}")).json()
        assert mailbox["address"] == "my-agent@inbox.leasebox.test"
        assert mailbox["lease"]["lease_status"] == "active"

        # Without a wallet it may send to ten recipients a day.
        assert await refused(house, tenant_id, 10) is None
        refusal = await refused(house, tenant_id, 1)
        assert refusal is not None
        assert (refusal.code, refusal.fields["action"]) == ("cooldown_limit", "bind_wallet")

        # It binds one, and the limit is gone at once.
        wallet = Account.create()
        assert (await bind(http, wallet)).status_code == 201
        assert await refused(house, tenant_id, 100) is None

    # From now on the wallet signs in, and finds the mailbox.
    session = await house.agent(wallet)
    assert session.session["tenant_id"] == view["tenant_id"]
    leases = (await session.http.get("/v2/mailboxes/leases")).json()["items"]
    assert [lease["lease_id"] for lease in leases] == [view["lease_id"]]


async def refused(house: House, tenant_id: TenantId, recipients: int) -> CooldownLimit | None:
    try:
        await house.db.transact(lambda tx: cooldown.take(tx, tenant_id, recipients, house.clock.now()))
    except CooldownLimit as refusal:
        return refusal
    return None
