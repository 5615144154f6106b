"""Routes by which admins sign in and out."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.params import JSONBody

from leasebox.admin import service
from leasebox.admin.callers import Admins
from leasebox.admin.door_http import TAGS, admits, anybody
from leasebox.admin.errors import NotAnAdmin
from leasebox.admin.model import ADMIN_SESSION_TTL, RIGHTS, Admin, Right
from leasebox.identity import siwe
from leasebox.identity.http import ChallengeView, MessageText, SignatureText, WalletText
from leasebox.identity.sign_in import SignIn
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database
from leasebox.infra.web.limits import AnyRate, limit_address
from leasebox.infra.web.routes import Given, request_id
from leasebox.values.clock import Clock


class AdminChallengeRequest(msgspec.Struct, forbid_unknown_fields=True):
    wallet_address: WalletText
    chain_id: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None


class AdminSignedMessage(msgspec.Struct, forbid_unknown_fields=True):
    message: MessageText
    signature: SignatureText


class AdminSessionView(msgspec.Struct):
    """expires_in: seconds. rights: what the role may do."""

    access_token: str
    token_type: str
    expires_in: int
    wallet_address: str
    role: str
    rights: list[str]


class AdminMeView(msgspec.Struct):
    session_id: str
    wallet_address: str
    role: str
    rights: list[str]
    expires_at: datetime


class AdminSignInRoutes(Controller):
    """Signing in to administer, with a wallet that the settings name."""

    path = "/v2/admin/auth"
    tags = TAGS

    sign_in: SignIn
    admins: Admins
    db: Database
    cache: Cache
    clock: Clock
    signin_rate: AnyRate

    @post("/challenge", status_code=200, operation_id="admin_challenge", **anybody(422))
    async def challenge(self, request: Request[Any, Any, Any], data: JSONBody[AdminChallengeRequest]) -> ChallengeView:
        """Ask for the message by which an admin signs in; it is no good for a tenant's sign-in."""
        await limit_address(request, self.cache, "challenge", self.signin_rate)
        made = await self.sign_in.challenge(data.wallet_address, data.chain_id, siwe.ADMINISTER)
        return ChallengeView(made.message, made.nonce, made.expires_at)

    @post("/verify", status_code=200, operation_id="admin_verify", **anybody(401))
    async def verify(self, request: Request[Any, Any, Any], data: JSONBody[AdminSignedMessage]) -> AdminSessionView:
        """Exchange the signed message for an admin's access token, if the wallet is on the list."""
        await limit_address(request, self.cache, "verify", self.signin_rate)
        signer = await self.sign_in.redeem(data.message, data.signature, siwe.ADMINISTER)
        now, trace = self.clock.now(), request_id(request)
        try:
            role = self.admins.role_of(signer.address)
        except NotAnAdmin:
            await self.db.transact(lambda tx: service.note_stranger(tx, signer, now, trace))
            raise
        made = await self.db.transact(lambda tx: service.sign_in(tx, signer, role, now, trace))
        return AdminSessionView(
            access_token=made.token.reveal(),
            token_type="Bearer",  # noqa: S106 - RFC 6750's word, not a secret
            expires_in=int(ADMIN_SESSION_TTL.total_seconds()),
            wallet_address=signer.address,
            role=role.value,
            rights=_rights(made.admin),
        )

    @delete("/session", status_code=204, operation_id="admin_sign_out", **admits(Right.LOOK))
    async def sign_out(self, request: Request[Any, Any, Any], admin: Given[Admin]) -> None:
        """End this session; its token is refused from the next call on."""
        now, trace = self.clock.now(), request_id(request)
        await self.db.transact(lambda tx: service.sign_out(tx, admin, now, trace))

    @get("/me", operation_id="admin_me", **admits(Right.LOOK))
    async def me(self, admin: Given[Admin]) -> AdminMeView:
        """Who am I, and what may I do?"""
        wallet = siwe.checksummed(admin.wallet)
        return AdminMeView(str(admin.session_id), wallet, admin.role.value, _rights(admin), admin.expires_at)


def _rights(admin: Admin) -> list[str]:
    return [right.value for right in Right if right in RIGHTS[admin.role]]
