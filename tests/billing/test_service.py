"""Admission and proofs as verbs: quantities, quotes, keys, failing work, early refusal."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from leasebox.billing import service
from leasebox.billing.errors import InvalidPaymentProof, NotPayable, PaymentRequired
from leasebox.billing.proof import LIFETIME, Claims, verify
from leasebox.infra.db import Database
from leasebox.values.clock import rfc3339
from leasebox.values.keys import Purpose, ring
from leasebox.values.money import Usdc
from leasebox.values.secret import Secret
from tests.billing.payer import KEYS, LEASE, READ, SEND, Payer, WorkFailed, publish
from tests.billing.shop import book
from tests.fakes.clock import FakeClock

MESSAGE = "msg_01jc7rbt4zfz8v4q5d6g7h8j9k"
SENDING = {"message_send": (20, "day", "0.001000")}


async def test_a_call_larger_than_what_is_free_pays_for_the_rest(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    first = await payer.use(now, SEND, quantity=15)
    assert (first.free_quantity, first.paid_quantity) == (15, 0)
    with pytest.raises(PaymentRequired) as refused:
        await payer.use(now, SEND, quantity=12)
    assert refused.value.fields["amount_usdc"] == "0.007000"
    assert refused.value.fields["accepts"][0]["request"]["body"]["quantity"] == 7
    text = await payer.text(now, SEND, quantity=7)
    second = await payer.use(now, SEND, text, quantity=12)
    assert (second.free_quantity, second.paid_quantity, second.amount) == (5, 7, Usdc(7_000))
    assert (await payer.funds(now))["owed"] == "0.007000"


NOTHING_FREE = {"message_send": (0, "day", "0.001000")}


@pytest.mark.parametrize(
    ("prices", "before", "quantity", "message", "waiting"),
    [
        (SENDING, 0, 25, "takes 25 recipients of message.send; with 20 of this day's 20 free ones left", "never"),
        (SENDING, 18, 7, "takes 7 recipients of message.send; with 2 of this day's 20 free ones left", "helps"),
        (SENDING, 20, 1, "The 20 free recipients of message.send this day are used up", "helps"),
        (NOTHING_FREE, 0, 5, "No recipient of message.send is free", "never"),
    ],
    ids=["too_many", "some_left", "used_up", "never_free"],
)
async def test_a_402_says_how_many_to_pay_for_and_to_wait_where_that_helps(
    payer: Payer, clock: FakeClock, prices: dict[str, Any], before: int, quantity: int, message: str, waiting: str
) -> None:
    now = clock.now()
    await publish(payer.db, book(**prices), now)
    if before:
        await payer.use(now, SEND, quantity=before)
    with pytest.raises(PaymentRequired) as refused:
        await payer.use(now, SEND, quantity=quantity)
    said, fields = refused.value, refused.value.fields
    assert message in said.message
    assert f"costs {fields['amount_usdc']} USDC." in said.message
    body = fields["accepts"][0]["request"]["body"]
    assert f"Send {msgspec.json.encode(body).decode()} to POST /v2/payments/proof" in said.fix
    assert said.fix.endswith(
        f", or wait until {rfc3339(fields['reasons'][0].resets_at)}." if waiting == "helps" else "proof."
    )
    text = await payer.text(now, SEND, body.get("quantity", 1))
    assert (await payer.use(now, SEND, text, quantity)).amount == Usdc.parse(fields["amount_usdc"])


async def test_a_refusal_takes_nothing_of_the_allowance(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    await payer.use(now, SEND, quantity=15)
    with pytest.raises(PaymentRequired):
        await payer.use(now, SEND, quantity=12)
    assert (await payer.use(now, SEND, quantity=5)).free_quantity == 5


async def test_what_a_proof_holds_too_much_goes_back(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    await payer.grant(now, "1")
    await payer.use(now, SEND, quantity=18)
    text = await payer.text(now, SEND, quantity=10)
    assert (await payer.funds(now))["held"] == "0.010000"
    used = await payer.use(now, SEND, text, quantity=6)
    assert (used.free_quantity, used.paid_quantity) == (2, 4)
    after = await payer.funds(now)
    assert (after["balance"], after["held"], after["owed"]) == ("0.996000", "0.000000", "0.000000")
    with pytest.raises(InvalidPaymentProof) as refused:
        await payer.use(now, SEND, text)
    assert refused.value.fields["reason"] == "replayed"


async def test_a_proof_for_fewer_units_is_not_taken(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    await payer.use(now, SEND, quantity=20)
    text = await payer.text(now, SEND, quantity=2)
    with pytest.raises(InvalidPaymentProof) as refused:
        await payer.use(now, SEND, text, quantity=3)
    assert refused.value.fields["reason"] == "too_small"
    assert '"path":"/v2/messages/send","quantity":3} to POST /v2/payments/proof' in refused.value.fix
    assert (await payer.use(now, SEND, text, quantity=2)).paid_quantity == 2


async def test_a_quote_stands_when_the_price_changes(payer: Payer, db: Database, clock: FakeClock) -> None:
    now = clock.now()
    await payer.use(now, SEND, quantity=20)
    cheap = await payer.text(now, SEND)
    await publish(db, book(message_send=(20, "day", "0.005000")), now)
    dear = await payer.hold(now, SEND)
    assert (dear.amount, dear.price_version) == (Usdc(5_000), 2)
    assert (await payer.use(now, SEND, cheap)).amount == Usdc(1_000)
    assert (await payer.use(now, SEND, dear.text.reveal())).amount == Usdc(5_000)


async def test_a_meter_without_a_price_is_free_for_ever(payer: Payer, db: Database, clock: FakeClock) -> None:
    now = clock.now()
    await publish(db, book(mailbox_lease=(0, "hour", "0")), now)
    assert [(await payer.use(now)).free_quantity for _ in range(9)] == [1] * 9
    held = await payer.hold(now)
    assert held.amount == Usdc(0)
    assert (await payer.funds(now))["held"] == "0.000000"


async def test_a_meter_with_nothing_free_is_paid_from_the_first(payer: Payer, db: Database, clock: FakeClock) -> None:
    now = clock.now()
    await publish(db, book(mailbox_lease=(0, "hour", "0.002000")), now)
    with pytest.raises(PaymentRequired):
        await payer.use(now)
    assert (await payer.use(now, proof=await payer.text(now))).paid_quantity == 1


async def test_an_allowance_that_is_lowered_counts_what_was_used(payer: Payer, db: Database, clock: FakeClock) -> None:
    now = clock.now()
    for _ in range(3):
        await payer.use(now)
    await publish(db, book(mailbox_lease=(2, "hour", "0.001000")), now)
    with pytest.raises(PaymentRequired):
        await payer.use(now)
    await publish(db, book(mailbox_lease=(4, "hour", "0.001000")), now)
    assert (await payer.use(now)).free_quantity == 1


async def test_work_that_fails_costs_nothing(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    with pytest.raises(WorkFailed):
        await payer.use_in_vain(now)
    for _ in range(5):
        await payer.use(now)
    text = await payer.text(now)
    with pytest.raises(WorkFailed):
        await payer.use_in_vain(now, proof=text)
    assert (await payer.funds(now))["held"] == "0.001000"
    assert (await payer.use(now, proof=text)).paid_quantity == 1


async def test_two_keys_are_good_while_one_retires(payer: Payer, clock: FakeClock) -> None:
    now, old, new = clock.now(), Secret("o" * 40), Secret("n" * 40)
    payer.keys = ring(old, None, Purpose.PAYMENT_PROOF)
    for _ in range(5):
        await payer.use(now)
    made_before, made_late = await payer.text(now), await payer.text(now)
    payer.keys = ring(new, old, Purpose.PAYMENT_PROOF)
    assert (await payer.use(now, proof=made_before)).paid_quantity == 1
    assert (await payer.use(now, proof=await payer.text(now))).paid_quantity == 1
    payer.keys = ring(new, None, Purpose.PAYMENT_PROOF)
    with pytest.raises(InvalidPaymentProof) as refused:
        await payer.use(now, proof=made_late)
    assert refused.value.fields["reason"] == "unknown_key"


async def test_a_proof_says_what_was_held(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    held = await payer.hold(now, SEND, 3)
    claims = verify(held.text.reveal(), KEYS, now)
    assert isinstance(claims, Claims)
    assert (claims.proof_id, claims.amount, claims.price_version) == (held.proof_id, Usdc(3_000), 1)
    assert claims.expires_at == held.expires_at == now + LIFETIME


async def test_the_last_moment_of_a_proof(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    for _ in range(5):
        await payer.use(now)
    first, second = await payer.text(now), await payer.text(now)
    assert (await payer.use(now + LIFETIME - timedelta(microseconds=1), proof=first)).paid_quantity == 1
    with pytest.raises(InvalidPaymentProof) as refused:
        await payer.use(now + LIFETIME, proof=second)
    assert refused.value.fields["reason"] == "expired"


async def test_a_hold_that_was_released_early_is_told_so(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    for _ in range(5):
        await payer.use(now)
    text = await payer.text(now)
    # A machine whose clock runs ahead gives it back.
    await payer.db.transact(lambda tx: service.release_due(tx, now + LIFETIME, 10))
    with pytest.raises(InvalidPaymentProof) as refused:
        await payer.use(now, proof=text)
    assert refused.value.fields["reason"] == "released"
    assert (await payer.funds(now))["owed"] == "0.000000"


async def test_foreseeing_refuses_what_admission_would(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()

    async def foresee(text: str | None) -> str:
        demand = payer.demand(now, LEASE, text, 1)
        try:
            await payer.db.read(lambda tx: service.foresee(tx, payer.caller, demand, KEYS))
        except (PaymentRequired, InvalidPaymentProof) as refusal:
            return str(refusal.fields.get("reason", refusal.code))
        return "admitted"

    assert await foresee("rubbish") == "admitted"
    spent, held, reading = await payer.text(now), await payer.text(now), await payer.text(now, READ)
    for _ in range(5):
        await payer.use(now)
    await payer.use(now, proof=spent)
    assert await foresee(None) == "payment_required"
    assert await foresee("rubbish") == "malformed"
    assert await foresee(reading) == "wrong_method"
    assert await foresee(spent) == "replayed"
    assert await foresee(held) == "admitted"
    assert (await payer.use(now, proof=held)).paid_quantity == 1


async def test_a_waiting_call_gets_the_unit_that_a_failing_one_gives_up(payer: Payer, clock: FakeClock) -> None:
    now, entered, leave = clock.now(), asyncio.Event(), asyncio.Event()
    for _ in range(4):
        await payer.use(now)

    async def slow() -> None:
        async def body(tx: object) -> None:
            await service.admit(tx, payer.caller, payer.demand(now, LEASE, None, 1), KEYS)  # type: ignore[arg-type]
            entered.set()
            await leave.wait()
            raise WorkFailed

        await payer.db.transact(body)

    failing = asyncio.create_task(slow())
    await entered.wait()
    waiting = asyncio.create_task(payer.use(now))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    leave.set()
    assert (await waiting).free_quantity == 1
    with pytest.raises(WorkFailed):
        await failing


@pytest.mark.parametrize(
    ("method", "path", "quantity", "reason"),
    [
        ("GET", "/v2/agents", 1, "not_metered"),
        ("POST", "/v2/mailboxes/leases", 2, "quantity"),
        ("GET", "/v2//messages", 1, "empty_segment"),
        ("TRACE", "/v2/messages", 1, "method"),
        ("POST", "/v2/messages/msg_x/reply", 1, "message_id"),
        ("POST", f"/v2/messages/{MESSAGE.replace('msg', 'lse')}/reply-all", 1, "message_id"),
        ("POST", "/v2/messages/msg_8zzzzzzzzzzzzzzzzzzzzzzzzz/forward", 2, "message_id"),
    ],
)
def test_what_is_not_payable(method: str, path: str, quantity: int, reason: str) -> None:
    with pytest.raises(NotPayable) as refused:
        service.payable(method, path, quantity)
    assert refused.value.fields["reason"] == reason


def test_what_is_payable() -> None:
    assert service.payable("GET", "/v2/messages?limit=3", 1) == READ
    assert service.payable("POST", "/v2/messages/send", 100) == SEND
    assert service.payable("POST", f"/v2/messages/{MESSAGE}/reply", 2).path.endswith("/reply")


async def test_holding_is_audited_with_its_amount(payer: Payer, clock: FakeClock) -> None:
    held = await payer.hold(clock.now())
    row = await payer.db.read(
        lambda tx: tx.one("SELECT actor, resource, detail FROM audit_rows WHERE action = 'payment.hold'")
    )
    assert row is not None
    assert (row["actor"], row["resource"]) == (payer.caller.actor, str(held.proof_id))
    assert row["detail"] == {"amount_usdc": "0.001000"}
