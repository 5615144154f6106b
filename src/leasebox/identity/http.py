"""Routes of sign-in, sessions and wallets."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.connection import ASGIConnection
from litestar.params import FromPath, JSONBody

from leasebox.identity import service, wallets
from leasebox.identity.callers import Callers
from leasebox.identity.model import SCOPES, SESSION_TTL, Caller, SignInPolicy, Wallet
from leasebox.identity.rates import Rates
from leasebox.identity.sign_in import SignIn, binding
from leasebox.infra import metrics, wall
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.limits import AnyRate, limit, limit_address
from leasebox.infra.web.routes import Given, needs, public, request_id, signed_in
from leasebox.values.clock import Clock
from leasebox.values.errors import LeaseboxError

WalletText = Annotated[str, msgspec.Meta(min_length=42, max_length=42, description="0x and 40 hexadecimal digits.")]
MessageText = Annotated[str, msgspec.Meta(max_length=4096, description="The EIP-4361 message, exactly as issued.")]
SignatureText = Annotated[str, msgspec.Meta(max_length=20_000, description="0x and the signature (EIP-191).")]


class ChallengeRequest(msgspec.Struct, forbid_unknown_fields=True):
    wallet_address: WalletText
    chain_id: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None


class WalletChallengeRequest(msgspec.Struct, forbid_unknown_fields=True):
    wallet_address: WalletText
    chain_id: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None


class SignedMessage(msgspec.Struct, forbid_unknown_fields=True):
    message: MessageText
    signature: SignatureText


class ChallengeView(msgspec.Struct):
    """message: sign exactly this text (EIP-191 personal_sign)."""

    message: str
    nonce: str
    expires_at: datetime


class SessionView(msgspec.Struct):
    """expires_in: seconds."""

    access_token: str
    token_type: str
    expires_in: int
    agent_id: str
    tenant_id: str
    did: str
    wallet_address: str
    chain_id: int
    scopes: list[str]


class MeView(msgspec.Struct):
    """Who the credential is. mailbox_ids: null when it reaches all of the tenant's mailboxes."""

    tenant_id: str
    agent_id: str | None
    credential_id: str
    credential_type: str
    did: str | None
    wallet_address: str | None
    chain_id: int | None
    scopes: list[str]
    mailbox_ids: list[str] | None
    expires_at: datetime | None
    wallets: list[Wallet]


class Wallets(msgspec.Struct):
    items: list[Wallet]
    next_cursor: str | None = None


Connection = ASGIConnection[Any, Any, Any, Any]


def doorkeeper(callers: Callers, cache: Cache, rates: Rates) -> Callable[[Connection, Any], Awaitable[None]]:
    """The guard of every route: authenticates, checks the route's scope, takes from the tenant's rate bucket.

    Routes with a door of their own (`opt`: door) are left to that door's guard.

    A guard runs before the body is read, so that a stranger learns nothing but 401.
    """

    async def require_caller(connection: Connection, handler: Any) -> None:
        if handler.opt.get("public") or handler.opt.get("door"):
            return
        caller = await callers.resolve(connection.headers.get("authorization"))
        state = connection.scope["state"]
        state["tenant"], state["caller"] = str(caller.tenant_id), caller
        await limit(connection, cache, "api", str(caller.tenant_id), await rates.of("api", caller.tenant_id))
        scope = handler.opt["scope"]
        if scope:
            caller.require(scope)
        wall.enter(caller.tenant_id)

    return require_caller


async def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    """The dependency `caller`: whom the doorkeeper let in."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


class SignInRoutes(Controller):
    """Signing in with a wallet (EIP-4361)."""

    path = "/v2/auth"
    tags = ["Signing in"]

    sign_in: SignIn
    callers: Callers
    db: Database
    cache: Cache
    clock: Clock
    signin_rate: AnyRate
    tenant_rate: AnyRate
    policy: SignInPolicy

    @post("/siwe/challenge", status_code=200, operation_id="challenge", **public(422))
    async def challenge(self, request: Request[Any, Any, Any], data: JSONBody[ChallengeRequest]) -> ChallengeView:
        """Ask for a message to sign."""
        await limit_address(request, self.cache, "challenge", self.signin_rate)
        made = await self.sign_in.challenge(data.wallet_address, data.chain_id)
        return ChallengeView(made.message, made.nonce, made.expires_at)

    @post("/siwe/verify", status_code=200, operation_id="verify", **public(401, 403))
    async def verify(self, request: Request[Any, Any, Any], data: JSONBody[SignedMessage]) -> SessionView:
        """Exchange the signed message for an access token."""
        await limit_address(request, self.cache, "verify", self.signin_rate)
        try:
            signer = await self.sign_in.redeem(data.message, data.signature)
        except LeaseboxError as refusal:
            metrics.SIGN_INS.labels(str(refusal.fields.get("reason", refusal.code))).inc()
            raise
        now, trace = self.clock.now(), request_id(request)
        made = await self.db.at_once(lambda tx: service.sign_in_known(tx, signer, now, trace))
        if made is None:
            await limit_address(request, self.cache, "new-tenant", self.tenant_rate)
            made = await self.db.at_once(lambda tx: service.sign_in(tx, signer, now, trace))
        metrics.SIGN_INS.labels("new" if made.newcomer else "known").inc()
        return SessionView(
            access_token=made.token.reveal(),
            token_type="Bearer",  # noqa: S106 - RFC 6750's word, not a secret
            expires_in=int(SESSION_TTL.total_seconds()),
            agent_id=str(made.agent_id),
            tenant_id=str(made.tenant_id),
            did=signer.did,
            wallet_address=signer.address,
            chain_id=signer.chain_id,
            scopes=sorted(SCOPES),
        )

    @delete("/session", status_code=204, operation_id="sign_out", **signed_in(422))
    async def sign_out(self, request: Request[Any, Any, Any], caller: Given[Caller]) -> None:
        """End this session; the token stops within a second everywhere."""
        now, trace = self.clock.now(), request_id(request)
        await self.db.transact(lambda tx: service.sign_out(tx, caller, now, trace))
        self.callers.forget_credential(caller.credential_id)

    @get("/me", operation_id="me", **signed_in())
    async def me(self, caller: Given[Caller]) -> MeView:
        """Who am I?"""
        bound = await self.db.read(lambda tx: wallets.list_wallets(tx, caller.tenant_id))
        return MeView(
            tenant_id=str(caller.tenant_id),
            agent_id=None if caller.agent_id is None else str(caller.agent_id),
            credential_id=str(caller.credential_id),
            credential_type="session" if caller.wallet_address else "api_key",
            did=caller.did,
            wallet_address=caller.wallet_address,
            chain_id=caller.chain_id,
            scopes=sorted(caller.scopes),
            mailbox_ids=None if caller.mailbox_ids is None else sorted(str(each) for each in caller.mailbox_ids),
            expires_at=caller.expires_at,
            wallets=bound,
        )


class WalletRoutes(Controller):
    """The wallets that may sign in as this tenant."""

    path = "/v2/tenants/wallets"
    tags = ["Wallets"]

    sign_in: SignIn
    callers: Callers
    db: Database
    cache: Cache
    clock: Clock
    signin_rate: AnyRate
    once: Once

    @post("/challenge", status_code=200, operation_id="challenge_wallet", **needs("keys:write", 422))
    async def challenge(
        self, request: Request[Any, Any, Any], caller: Given[Caller], data: JSONBody[WalletChallengeRequest]
    ) -> ChallengeView:
        """Ask for the message by which a further wallet agrees to be bound to your tenant."""
        await limit_address(request, self.cache, "challenge", self.signin_rate)
        made = await self.sign_in.challenge(data.wallet_address, data.chain_id, binding(caller.tenant_id))
        return ChallengeView(made.message, made.nonce, made.expires_at)

    @post("/", status_code=201, operation_id="bind_wallet", **needs("keys:write", 409))
    async def bind(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[SignedMessage],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Wallet]:
        """Bind the wallet that signed the challenge."""
        if (kept := await self.once.recall(request, caller, idempotency_key)) is not None:
            return kept
        signer = await self.sign_in.redeem(data.message, data.signature, binding(caller.tenant_id))
        now, trace = self.clock.now(), request_id(request)

        async def work(tx: Tx) -> Wallet:
            return await wallets.bind_wallet(tx, caller, signer, now, trace)

        return await self.once.answer(request, caller, idempotency_key, 201, work)

    @get("/", operation_id="list_wallets", **signed_in())
    async def listed(self, caller: Given[Caller]) -> Wallets:
        """The wallets bound to your tenant, oldest first."""
        return Wallets(await self.db.read(lambda tx: wallets.list_wallets(tx, caller.tenant_id)))

    @delete("/{address:str}", status_code=204, operation_id="unbind_wallet", **needs("keys:write", 404, 409))
    async def unbind(self, request: Request[Any, Any, Any], caller: Given[Caller], address: FromPath[str]) -> None:
        """Remove a wallet; its sessions end. The last one stays."""
        now, trace = self.clock.now(), request_id(request)
        await self.db.transact(lambda tx: wallets.unbind_wallet(tx, caller, address, now, trace))
