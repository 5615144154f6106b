"""Challenges and their redemption over Redis: one use, one purpose, bounded memory."""

import asyncio

import pytest
from eth_account import Account

from leasebox.identity import siwe
from leasebox.identity.errors import NotAChallenge, SignInRefused
from leasebox.identity.model import SignInPolicy
from leasebox.identity.sign_in import SignIn, binding
from leasebox.infra import cache
from leasebox.values.errors import Unavailable, Unprocessable
from leasebox.values.ids import TenantId
from tests.fakes.clock import FakeClock
from tests.kit import sign

POLICY = SignInPolicy("leasebox.test", "http://leasebox.test", (84532, 8453))
WALLET = Account.create()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def desk(redis_url: str, clock: FakeClock):  # type: ignore[no-untyped-def]
    store = cache.connect(redis_url, clock)
    yield SignIn(store, POLICY, clock)
    await store.close()


async def test_a_challenge_is_redeemed_once(desk: SignIn) -> None:
    made = await desk.challenge(WALLET.address.lower(), None)
    signature = sign(WALLET, made.message)
    signer = await desk.redeem(made.message, signature)
    assert (signer.address, signer.chain_id, signer.intent) == (WALLET.address, 84532, siwe.SIGN_IN)
    with pytest.raises(SignInRefused) as refused:
        await desk.redeem(made.message, signature)
    assert refused.value.fields == {"reason": "nonce"}


async def test_of_many_at_once_one_redeems(desk: SignIn) -> None:
    made = await desk.challenge(WALLET.address, 8453)
    tries = [desk.redeem(made.message, sign(WALLET, made.message)) for _ in range(30)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(each, Exception) for each in found) == 1
    assert {type(each) for each in found if isinstance(each, Exception)} == {SignInRefused}


@pytest.mark.parametrize("intent", [siwe.SIGN_IN, binding(TenantId(int=1)), siwe.ADMINISTER])
@pytest.mark.parametrize("used_for", [siwe.SIGN_IN, binding(TenantId(int=2)), siwe.ADMINISTER])
async def test_a_message_is_good_for_its_own_purpose_only(desk: SignIn, intent: str, used_for: str) -> None:
    made = await desk.challenge(WALLET.address, None, intent)
    if used_for == intent:
        assert (await desk.redeem(made.message, sign(WALLET, made.message), used_for)).intent == intent
        return
    with pytest.raises(SignInRefused) as refused:
        await desk.redeem(made.message, sign(WALLET, made.message), used_for)
    assert refused.value.fields == {"reason": "message"}


async def test_the_wallet_is_told_what_it_signs(desk: SignIn) -> None:
    tenant_id = TenantId.new(FakeClock().now())
    said = [(await desk.challenge(WALLET.address, None, each)).message for each in (siwe.SIGN_IN, binding(tenant_id))]
    assert "This costs nothing." in said[0]
    assert f"Bind this wallet to the leasebox tenant {tenant_id}." in said[1]


async def test_a_nonce_is_used_up_by_a_failure_too(desk: SignIn) -> None:
    made = await desk.challenge(WALLET.address, None)
    with pytest.raises(SignInRefused):
        await desk.redeem(made.message.replace("costs", "cosTs"), sign(WALLET, made.message))
    with pytest.raises(SignInRefused) as refused:
        await desk.redeem(made.message, sign(WALLET, made.message))
    assert refused.value.fields == {"reason": "nonce"}


async def test_text_that_is_no_message_uses_nothing_up(desk: SignIn) -> None:
    made = await desk.challenge(WALLET.address, None)
    with pytest.raises(NotAChallenge):
        await desk.redeem(f"Nonce: {made.nonce}", "0x")
    assert (await desk.redeem(made.message, sign(WALLET, made.message))).address == WALLET.address


@pytest.mark.parametrize(
    ("address", "chain"),
    [("0x12", None), (WALLET.address, 1), ("0x" + "g" * 40, None)],
    ids=["short", "chain", "no hex"],
)
async def test_nothing_is_kept_for_what_is_not_served(desk: SignIn, address: str, chain: int | None) -> None:
    with pytest.raises(Unprocessable):
        await desk.challenge(address, chain)


async def test_without_redis_nobody_signs_in(clock: FakeClock) -> None:
    nowhere = SignIn(cache.connect("redis://127.0.0.1:1/0", clock), POLICY, clock)
    with pytest.raises(Unavailable):
        await nowhere.challenge(WALLET.address, None)
