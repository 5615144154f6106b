"""The page on which a person approves or declines a claim. It needs no script; opening it changes nothing."""

import hmac
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath

from leasebox.infra import metrics
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.limits import AnyRate, limit_address
from leasebox.infra.web.routes import request_id
from leasebox.leases import claims
from leasebox.leases.claims_errors import ClaimsClosed
from leasebox.leases.claims_model import CLAIM_TTL, Claim, ClaimPolicy
from leasebox.pages.claim import claim_page, form_token, new_nonce, said_page
from leasebox.pages.frame import FORM_POLICY
from leasebox.values.clock import Clock
from leasebox.values.errors import Forbidden, LeaseboxError
from leasebox.values.secret import Secret

_HIDDEN: dict[str, Any] = {"include_in_schema": False, "opt": {"public": True}}
_COOKIE = "claim_form"
_NONCE = re.compile(r"[0-9a-f]{32}\Z")
_FORM_CAP = 4096
_TITLES = {
    HTTPStatus.FORBIDDEN: "Not from here",
    HTTPStatus.NOT_FOUND: "No such claim",
    HTTPStatus.CONFLICT: "Decided already",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many at once",
}
_PORTS = {"https:": ":443", "http:": ":80"}


class NotOurForm(Forbidden):
    fix = "Open the page anew, and press its button there."


class ClaimPageRoutes(Controller):
    """Where claim_url leads."""

    path = "/claims"

    db: Database
    cache: Cache
    clock: Clock
    policy: ClaimPolicy
    page_rate: AnyRate
    tenant_rate: AnyRate

    @get("/{link:str}", **_HIDDEN)
    async def show(self, request: Request[Any, Any, Any], link: FromPath[str]) -> Response[str]:
        """The claim and its form, or what became of it."""
        try:
            claim = await self._opened(request, link)
        except LeaseboxError as refusal:
            return _refused(refusal)
        nonce = _nonce(request) or new_nonce()
        answer = _page(claim_page(claim, form_token(nonce, link), self.clock.now()), HTTPStatus.OK)
        answer.set_cookie(self._cookie(nonce))
        return answer

    @post("/{link:str}", status_code=303, **_HIDDEN)
    async def decide(self, request: Request[Any, Any, Any], link: FromPath[str]) -> Response[str]:
        """What the person pressed; leads back to the page, which says what became of it."""
        try:
            await self._decide(request, link)
        except LeaseboxError as refusal:
            return _refused(refusal)
        answer = _page("", HTTPStatus.SEE_OTHER)
        answer.headers["location"] = f"/claims/{link}"
        return answer

    async def _decide(self, request: Request[Any, Any, Any], link: str) -> None:
        claim = await self._opened(request, link)
        form = await self._form(request, link)
        now, trace = self.clock.now(), request_id(request)
        if form.get("decision") == "decline":
            await self.db.transact(lambda tx: claims.decline(tx, claim, now, trace))
            return
        if form.get("decision") != "approve":
            raise NotOurForm("The form says neither approve nor decline.")
        if claim.status(now) == "pending":
            await limit_address(request, self.cache, "new-tenant", self.tenant_rate)

        async def approve(tx: Tx) -> Claim:
            return await claims.approve(tx, claim, self.policy.leases, now, trace)

        made = await self.db.transact(approve)
        if made.lease_id is not None and made.decided_at == now:
            metrics.LEASES.labels("granted").inc()

    async def _opened(self, request: Request[Any, Any, Any], link: str) -> Claim:
        await limit_address(request, self.cache, "claim-page", self.page_rate)
        if self.policy.confirm == "off":
            raise ClaimsClosed("This instance gives mailboxes to wallets only.")
        return await self.db.read(lambda tx: claims.look(tx, Secret(link), self.clock.now()))

    async def _form(self, request: Request[Any, Any, Any], link: str) -> dict[str, str]:
        """The fields of our own form, sent by our own page. Raises NotOurForm (403)."""
        if not self._from_our_page(request):
            raise NotOurForm("This was not sent by the approval page.")
        raw = await request.body()
        if len(raw) > _FORM_CAP:
            raise NotOurForm("This is not the approval page's form.")
        fields = {name: values[-1] for name, values in parse_qs(raw.decode("latin-1")).items()}
        nonce = _nonce(request)
        if nonce is None or not hmac.compare_digest(
            form_token(nonce, link).encode(), fields.get("form_token", "").encode()
        ):
            raise NotOurForm("The form is out of date, or cookies are switched off.")
        return fields

    def _from_our_page(self, request: Request[Any, Any, Any]) -> bool:
        origin = request.headers.get("origin", "null")
        if origin != "null":
            return origin == _origin_of(self.policy.base_url)
        return bool(request.headers.get("sec-fetch-site") == "same-origin")

    def _cookie(self, nonce: str) -> Cookie:
        return Cookie(
            key=_COOKIE,
            value=nonce,
            path="/claims",
            max_age=int(CLAIM_TTL.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=self.policy.base_url.startswith("https:"),
        )


def _nonce(request: Request[Any, Any, Any]) -> str | None:
    nonce = request.cookies.get(_COOKIE, "")
    return nonce if _NONCE.match(nonce) else None


def _origin_of(base_url: str) -> str:
    """As browsers write it: without the scheme's own port (RFC 6454 §6.2)."""
    return base_url.removesuffix(_PORTS[base_url.partition("//")[0]])


def _refused(refusal: LeaseboxError) -> Response[str]:
    status = HTTPStatus(refusal.kind.value)
    answer = _page(said_page(_TITLES.get(status, status.phrase), f"{refusal.message} {refusal.fix}"), status)
    if refusal.retry_after_s is not None:
        answer.headers["retry-after"] = str(refusal.retry_after_s)
    return answer


def _page(text: str, status: HTTPStatus) -> Response[str]:
    headers = {"cache-control": "no-store", "content-security-policy": FORM_POLICY, "x-robots-tag": "noindex"}
    return Response(text, status_code=status.value, media_type="text/html", headers=headers)
