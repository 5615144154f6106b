"""Spend caps: who may set them, what they count, when they begin anew."""

import pytest

from leasebox.billing import caps, ledger
from leasebox.billing.errors import CapNotYours, CapUseless, PaymentRequired
from leasebox.billing.model import CapSpan
from leasebox.identity.model import Caller
from leasebox.values.errors import NotFound
from leasebox.values.ids import KeyId
from leasebox.values.money import Usdc
from tests.billing.payer import SEND, Payer
from tests.fakes.clock import FakeClock


async def cap(
    payer: Payer, clock: FakeClock, usdc: str | None, key: KeyId | None = None, span: CapSpan = "day"
) -> None:
    limit = None if usdc is None else Usdc.parse(usdc)
    await payer.db.transact(lambda tx: caps.set_cap(tx, payer.caller, key, span, limit, clock.now(), "req_test"))


async def standing(payer: Payer, clock: FakeClock) -> list[tuple[str, str]]:
    found = await payer.db.read(lambda tx: caps.caps_of(tx, payer.caller.tenant_id, clock.now()))
    return [(str(each.limit), str(each.used)) for each in found]


NEW_KEY = """
INSERT INTO api_keys (id, token_hash, hint, tenant_id, name, scopes, made_by, created_at)
VALUES ($1, sha256($2), 'lb_', $3, 'k', $4, 'test', $5)
"""


async def with_key(payer: Payer, clock: FakeClock, *scopes: str) -> tuple[KeyId, Payer]:
    """An API key of the payer's tenant, and what it does as a payer itself."""
    key_id, tenant = KeyId.new(clock.now()), payer.caller.tenant_id
    await payer.db.transact(lambda tx: tx.run(NEW_KEY, key_id, key_id.bytes, tenant, scopes, clock.now()))
    caller = Caller(tenant, None, key_id, frozenset(scopes), None, None, None, None, "active")
    return key_id, Payer(payer.db, caller)


async def test_a_cap_lets_through_exactly_its_limit(payer: Payer, clock: FakeClock) -> None:
    await cap(payer, clock, "0.002500")
    await payer.hold(clock.now())
    await payer.hold(clock.now())
    with pytest.raises(PaymentRequired) as refused:
        await payer.hold(clock.now())
    reason = refused.value.fields["reasons"][0]
    assert (reason.code, reason.limit, reason.window, reason.left) == ("spend_cap", "0.002500", "day", "0.000500")
    assert reason.resets_at > clock.now()
    assert await standing(payer, clock) == [("0.002500", "0.002000")]


async def test_what_is_given_back_counts_no_more(payer: Payer, clock: FakeClock) -> None:
    await cap(payer, clock, "0.001000")
    await payer.hold(clock.now())
    with pytest.raises(PaymentRequired):
        await payer.hold(clock.now())
    clock.advance(seconds=121)
    await payer.hold(clock.now())
    assert await standing(payer, clock) == [("0.001000", "0.001000")]


async def test_a_new_window_begins_at_nothing(payer: Payer, clock: FakeClock) -> None:
    await cap(payer, clock, "0.001000")
    await cap(payer, clock, "0.002000", span="month")
    await payer.hold(clock.now())
    clock.advance(days=1)
    await payer.hold(clock.now())
    clock.advance(days=32)
    assert await standing(payer, clock) == [("0.001000", "0.000000"), ("0.002000", "0.000000")]
    await payer.hold(clock.now())


async def test_a_cap_set_late_counts_what_went_before(payer: Payer, clock: FakeClock) -> None:
    for _ in range(5):
        await payer.use(clock.now())
    await payer.use(clock.now(), proof=await payer.text(clock.now()))
    await payer.hold(clock.now())
    await cap(payer, clock, "0.003000")
    assert await standing(payer, clock) == [("0.003000", "0.002000")]
    await payer.hold(clock.now())
    with pytest.raises(PaymentRequired):
        await payer.hold(clock.now())


async def test_a_key_and_its_tenant_are_capped_apart(payer: Payer, clock: FakeClock) -> None:
    key_id, key = await with_key(payer, clock, "billing:pay")
    await cap(payer, clock, "0.003000")
    await cap(payer, clock, "0.002000", key_id)
    await key.hold(clock.now())
    await key.hold(clock.now())
    with pytest.raises(PaymentRequired):
        await key.hold(clock.now())
    await payer.hold(clock.now())
    with pytest.raises(PaymentRequired):
        await payer.hold(clock.now())
    assert await standing(payer, clock) == [("0.003000", "0.003000"), ("0.002000", "0.002000")]


async def test_taking_a_cap_away(payer: Payer, clock: FakeClock) -> None:
    await cap(payer, clock, "0")
    with pytest.raises(PaymentRequired):
        await payer.hold(clock.now())
    await cap(payer, clock, None)
    await payer.hold(clock.now())
    assert await standing(payer, clock) == []


async def test_no_key_sets_a_cap(payer: Payer, clock: FakeClock) -> None:
    _, key = await with_key(payer, clock, "keys:write")
    with pytest.raises(CapNotYours):
        await cap(key, clock, "1")


async def test_which_keys_can_be_capped(payer: Payer, clock: FakeClock) -> None:
    maker, _ = await with_key(payer, clock, "keys:write", "billing:pay")
    with pytest.raises(CapUseless):
        await cap(payer, clock, "1", maker)
    with pytest.raises(NotFound):
        await cap(payer, clock, "1", KeyId.new(clock.now()))
    stranger = await Payer.new(payer.db, clock.now())
    theirs, _ = await with_key(stranger, clock, "billing:pay")
    with pytest.raises(NotFound):
        await cap(payer, clock, "1", theirs)


async def test_a_surplus_counts_no_more(payer: Payer, clock: FakeClock) -> None:
    await cap(payer, clock, "0.010000")
    await payer.use(clock.now(), SEND, quantity=18)
    await payer.use(clock.now(), SEND, await payer.text(clock.now(), SEND, 10), quantity=6)
    assert await standing(payer, clock) == [("0.010000", "0.004000")]


@pytest.mark.parametrize("anew", [False, True], ids=["standing", "set_anew"])
async def test_a_refunded_charge_still_counts(payer: Payer, clock: FakeClock, anew: bool) -> None:
    await cap(payer, clock, "0.001000")
    for _ in range(5):
        await payer.use(clock.now())
    await payer.use(clock.now(), proof=await payer.text(clock.now()))
    rows = await payer.db.read(lambda tx: ledger.transfers(tx, payer.caller.tenant_id, None, 10))
    await payer.reverse(clock.now(), next(row for row in rows if row.kind == "spend").transfer_id)
    if anew:
        await cap(payer, clock, "0.001000")
    assert await standing(payer, clock) == [("0.001000", "0.001000")]
    with pytest.raises(PaymentRequired):
        await payer.hold(clock.now())
    clock.advance(days=1)
    await payer.hold(clock.now())


async def test_setting_a_cap_is_audited(payer: Payer, clock: FakeClock) -> None:
    await cap(payer, clock, "0.5")
    detail = await payer.db.read(lambda tx: tx.value("SELECT detail FROM audit_rows WHERE action = 'spend_cap.set'"))
    assert detail == {"window": "day", "limit_usdc": "0.500000"}
