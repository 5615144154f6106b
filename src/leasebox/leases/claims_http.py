"""Routes of claims: what a program without a wallet asks. The page that a person approves on is pages/claim_http.py."""

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.datastructures import CacheControlHeader
from litestar.params import FromPath, JSONBody

from leasebox.infra import metrics
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.limits import AnyRate, client, limit_address
from leasebox.infra.web.routes import known_id, public, request_id
from leasebox.leases import claims
from leasebox.leases.claims_errors import ClaimsClosed, NoClaimToken, NotHeadless
from leasebox.leases.claims_model import Claim, ClaimId, ClaimPolicy, Reason, Status, order_of
from leasebox.leases.claims_seal import is_token
from leasebox.values.clock import Clock
from leasebox.values.secret import Secret

_BEARER = re.compile(r"[Bb]earer +(\S+)\Z")
# The answers hold secrets.
_UNKEPT: dict[str, Any] = {"cache_control": CacheControlHeader(no_store=True)}
_BY_TOKEN: dict[str, Any] = {"security": [{"claim_token": []}]}


class ClaimRequest(msgspec.Struct, forbid_unknown_fields=True):
    """name: the wanted part before the @, 1 to 40 of a-z, 0-9 and hyphen."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    domain: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] | None = None


class NewClaimView(msgspec.Struct):
    """claim_url: for a person to open. claim_token: shown this once; the bearer token of this claim's other routes."""

    session_id: str
    status: Status
    address: str
    claim_url: str
    claim_token: str
    expires_at: datetime


class ClaimView(msgspec.Struct):
    """status: pending, approved, declined or expired, judged by the clock. reason: why it was declined.

    api_key: in the answers after the approval, until it is first used or 24 hours are over; then null, and shown to
    nobody again. The other ids: null until the approval.
    """

    session_id: str
    status: Status
    reason: Reason | None
    address: str
    expires_at: datetime
    decided_at: datetime | None
    api_key: str | None
    tenant_id: str | None
    agent_id: str | None
    mailbox_id: str | None
    account_id: str | None
    lease_id: str | None
    lease_expires_at: datetime | None


class ClaimRoutes(Controller):
    """A mailbox without a wallet: ask for it, have a person approve, fetch its API key."""

    path = "/v2/claims"
    tags = ["Claims"]

    db: Database
    cache: Cache
    clock: Clock
    policy: ClaimPolicy
    claim_rate: AnyRate
    tenant_rate: AnyRate
    poll_rate: AnyRate

    @post("/", status_code=201, operation_id="start_claim", **_UNKEPT, **public(403, 409, 422))
    async def start(self, request: Request[Any, Any, Any], data: JSONBody[ClaimRequest]) -> NewClaimView:
        """Ask for a mailbox of that name. Nothing is reserved: who is approved first gets it.

        Takes no Idempotency-Key: nothing is made until an approval, so ask anew where the answer got lost.
        """
        if self.policy.confirm == "off":
            raise ClaimsClosed("This instance gives mailboxes to wallets only.")
        await limit_address(request, self.cache, "claim", self.claim_rate)
        order = order_of(data.name, data.domain, client(request), self.policy.leases)
        now, trace = self.clock.now(), request_id(request)
        made = await self.db.transact(lambda tx: claims.start(tx, order, now, trace))
        return NewClaimView(
            session_id=str(made.claim.claim_id),
            status="pending",
            address=made.claim.address,
            claim_url=f"{self.policy.base_url}/claims/{made.link.reveal()}",
            claim_token=made.token.reveal(),
            expires_at=made.claim.expires_at,
        )

    @get("/{session_id:str}", operation_id="get_claim", **_UNKEPT, **(public(401, 404) | _BY_TOKEN))
    async def one(self, request: Request[Any, Any, Any], session_id: FromPath[str]) -> ClaimView:
        """What became of a claim. Approved: with the API key, until that is first used, for 24 hours at most."""
        token = _token(request)
        await limit_address(request, self.cache, "claim-poll", self.poll_rate)
        wanted = known_id(ClaimId, session_id)
        claim = await self.db.read(lambda tx: claims.find(tx, wanted, token, self.clock.now()))
        return await self._handed_out(request, claim, token)

    @post(
        "/{session_id:str}/confirm",
        status_code=200,
        operation_id="confirm_claim",
        **_UNKEPT,
        **(public(401, 403, 404, 409, 422) | _BY_TOKEN),
    )
    async def confirm(self, request: Request[Any, Any, Any], session_id: FromPath[str]) -> ClaimView:
        """Approve one's own claim, where the operator allows it; the answer is that of GET.

        Needs no Idempotency-Key: confirmed again, the same answer, with the same key while that is unused.
        """
        token = _token(request)
        if self.policy.confirm != "headless":
            raise NotHeadless("On this instance a person approves claims.")
        await limit_address(request, self.cache, "claim-poll", self.poll_rate)
        wanted, now, trace = known_id(ClaimId, session_id), self.clock.now(), request_id(request)
        found = await self.db.read(lambda tx: claims.find(tx, wanted, token, now))
        if found.status(now) == "pending":
            await limit_address(request, self.cache, "new-tenant", self.tenant_rate)
        claim = await self.db.transact(lambda tx: claims.approve(tx, found, self.policy.leases, now, trace))
        if claim.lease_id is not None and claim.decided_at == now:
            metrics.LEASES.labels("granted").inc()
        return await self._handed_out(request, claim, token)

    async def _handed_out(self, request: Request[Any, Any, Any], claim: Claim, token: Secret) -> ClaimView:
        now, trace = self.clock.now(), request_id(request)

        async def fetch(tx: Tx) -> Secret | None:
            return await claims.collect(tx, claim, token, now, trace)

        key = await self.db.transact(fetch) if claim.state == "approved" else None
        return _view(claim, key, now)


def _token(request: Request[Any, Any, Any]) -> Secret:
    found = _BEARER.match(request.headers.get("authorization", ""))
    if found is None or not is_token(found[1]):
        raise NoClaimToken("No claim token was sent.")
    return Secret(found[1])


def _view(claim: Claim, key: Secret | None, at: datetime) -> ClaimView:
    mailbox_id = None if claim.mailbox_id is None else str(claim.mailbox_id)
    return ClaimView(
        session_id=str(claim.claim_id),
        status=claim.status(at),
        reason=claim.reason,
        address=claim.address,
        expires_at=claim.expires_at,
        decided_at=claim.decided_at,
        api_key=None if key is None else key.reveal(),
        tenant_id=None if claim.tenant_id is None else str(claim.tenant_id),
        agent_id=None if claim.agent_id is None else str(claim.agent_id),
        mailbox_id=mailbox_id,
        account_id=mailbox_id,
        lease_id=None if claim.lease_id is None else str(claim.lease_id),
        lease_expires_at=claim.lease_expires_at,
    )
