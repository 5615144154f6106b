"""Routes of suppressions. Addresses stand in the query or the body: paths take no escapes, and addresses need some."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.body import FieldFault
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, needs, request_id
from leasebox.sending import suppressions
from leasebox.sending.addressees import UnreadableAddress, read_addressee
from leasebox.sending.suppressions import Reason, Suppression
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest, Unprocessable

AddressText = Annotated[str, QueryParameter(min_length=3, max_length=320, description="A mail address.")]
MaybeAddress = Annotated[
    str | None, QueryParameter(min_length=3, max_length=320, description="Only this address, if it is suppressed.")
]


class SuppressionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """detail: a note of yours."""

    address: Annotated[str, msgspec.Meta(min_length=3, max_length=320)]
    detail: Annotated[str, msgspec.Meta(max_length=500)] = ""


class SuppressionView(msgspec.Struct):
    """reason: `hard_bounce` it came back for good, `complaint` its owner complained, `manual` you said so. detail: for
    a bounce the server's words, untrusted."""

    address: str
    reason: Reason
    send_attempt_id: str | None
    detail: str
    at: datetime


class SuppressionRoutes(Controller):
    """Addresses that your mail is not sent to any more."""

    path = "/v2/suppressions"
    tags = ["Sending"]

    db: Database
    clock: Clock
    once: Once

    @get("/", operation_id="list_suppressions", **needs("mail:read"))
    async def listed(
        self,
        caller: Given[Caller],
        address: MaybeAddress = None,
        reason: FromQuery[Reason | None] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[SuppressionView]:
        """Your suppressed addresses, newest first."""
        suppressions.require_whole_tenant(caller)
        below, tenant = after(cursor), caller.tenant_id
        only = None if address is None else canonical(address)
        found = await self.db.read(lambda tx: suppressions.listed(tx, tenant, only, reason, below, limit + 1))
        return page(found, limit, suppression_view, lambda each: each.place)

    @post("/", status_code=201, operation_id="suppress_address", **needs("mail:send", 409, 422))
    async def add(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[SuppressionRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[SuppressionView]:
        """Send no more to an address; one that is suppressed already stays as it is."""
        suppressions.require_whole_tenant(caller)
        now, trace = self.clock.now(), request_id(request)
        try:
            key = read_addressee(data.address).key
        except UnreadableAddress as fault:
            raise Unprocessable(f"address {fault}.", errors=[FieldFault("body.address", str(fault))]) from None

        async def work(tx: Tx) -> SuppressionView:
            return suppression_view(await suppressions.add(tx, caller, key, data.detail, now, trace))

        return await self.once.answer(request, caller, idempotency_key, 201, work)

    @delete("/", status_code=204, operation_id="lift_suppression", **needs("mail:send", 404))
    async def lift(self, request: Request[Any, Any, Any], caller: Given[Caller], address: AddressText) -> None:
        """Let mail go to an address again."""
        suppressions.require_whole_tenant(caller)
        key, now, trace = canonical(address), self.clock.now(), request_id(request)
        await self.db.transact(lambda tx: suppressions.lift(tx, caller, key, now, trace))


def canonical(text: str) -> str:
    """The address of a query as suppressions know it. Raises BadRequest."""
    try:
        return read_addressee(text).key
    except UnreadableAddress as fault:
        errors = [FieldFault("query.address", str(fault))]
        raise BadRequest(
            f"address {fault}.", fix="Write it as name@domain, escaped as queries are.", errors=errors
        ) from None


def suppression_view(found: Suppression) -> SuppressionView:
    """A suppression as it is shown."""
    attempt = None if found.attempt_id is None else str(found.attempt_id)
    return SuppressionView(found.address, found.reason, attempt, found.detail, found.at)
