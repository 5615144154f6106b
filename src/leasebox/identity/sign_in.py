"""Challenges and their redemption."""

import asyncio

import msgspec

from leasebox.identity import siwe
from leasebox.identity.errors import SignInRefused
from leasebox.identity.model import Challenge, Signer, SignInPolicy
from leasebox.infra.cache import Cache
from leasebox.values.clock import Clock
from leasebox.values.errors import Unprocessable
from leasebox.values.ids import TenantId

_NONCE_TTL_S = 300


class _Kept(msgspec.Struct, frozen=True):
    """What Redis holds under a nonce: the exact message, and what signing it is good for."""

    intent: str
    message: str


class SignIn:
    """Challenges and their redemption. Talks to Redis, never to the database."""

    def __init__(self, cache: Cache, policy: SignInPolicy, clock: Clock) -> None:
        self._cache = cache
        self._policy = policy
        self._clock = clock

    async def challenge(self, address: str, chain_id: int | None, intent: str = siwe.SIGN_IN) -> Challenge:
        """Issue a message for `address` to sign; its exact bytes are kept under its nonce for five minutes.

        Raises Unprocessable for a malformed address or a chain that is not served, Unavailable without Redis.
        """
        chain = self._policy.chain_ids[0] if chain_id is None else chain_id
        if chain not in self._policy.chain_ids:
            served = ", ".join(str(known) for known in self._policy.chain_ids)
            raise Unprocessable(f"Chain {chain} is not served here.", fix=f"Use chain_id {served}.")
        await _warm()
        statement = _statement(intent)
        challenge = siwe.write(self._policy, siwe.checksummed(address), chain, statement, self._clock.now())
        kept = msgspec.json.encode(_Kept(intent, challenge.message))
        await self._cache.put(f"nonce:{challenge.nonce}", kept, _NONCE_TTL_S)
        return challenge

    async def redeem(self, message: str, signature: str, intent: str = siwe.SIGN_IN) -> Signer:
        """Who signed `message`. The nonce is used up first, whatever comes after.

        Raises NotAChallenge (400) for text that is no EIP-4361 message, SignInRefused (401) otherwise, Unavailable.
        """
        await _warm()
        parsed = siwe.parse(message)
        raw = await self._cache.take(f"nonce:{parsed.nonce}")
        if raw is None:
            raise SignInRefused("The nonce is unknown, used or expired.", reason="nonce")
        kept = msgspec.json.decode(raw, type=_Kept)
        if kept.message != message or kept.intent != intent:
            raise SignInRefused("The message is not the one that was issued for this purpose.", reason="message")
        siwe.check(parsed, self._policy, signature, self._clock.now())
        return Signer(str(parsed.address), int(parsed.chain_id), intent)


async def _warm() -> None:
    if not siwe.warm.cache_info().currsize:
        await asyncio.to_thread(siwe.warm)


def binding(tenant_id: TenantId) -> str:
    """The intent of a challenge that binds a wallet to a tenant: no good for signing in, nor for another tenant."""
    return f"bind:{tenant_id}"


def _statement(intent: str) -> str:
    if intent == siwe.SIGN_IN:
        return "Sign in to leasebox to lease mailboxes. This costs nothing."
    if intent == siwe.ADMINISTER:
        return "Sign in to ADMINISTER this leasebox instance. Do not sign this unless you operate it."
    return f"Bind this wallet to the leasebox tenant {intent.removeprefix('bind:')}. It will be able to sign in as it."
