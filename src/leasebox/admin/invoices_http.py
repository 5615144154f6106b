"""Routes of invoices: list, look, issue, void, refund by credit note."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from leasebox.admin import views_store
from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.model import Admin, Right
from leasebox.billing import invoices, usage
from leasebox.billing.invoice_http import BillView, CreditNoteView, InvoiceView, bill_view, invoice_view, note_view
from leasebox.billing.invoice_model import Bill, Invoice, State, Wanted
from leasebox.billing.invoices import By
from leasebox.billing.statement import InvoiceId
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, request_id
from leasebox.values.clock import Clock
from leasebox.values.errors import NotFound
from leasebox.values.ids import EventId, TenantId

MonthText = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}$", description="A month in UTC, such as 2026-11.")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, description="Why; the tenant reads it.")]
OneMonth = Annotated[
    str | None, QueryParameter(pattern=r"^[0-9]{4}-[0-9]{2}$", description="Only this month's, such as 2026-11.")
]


class IssueRequest(msgspec.Struct, forbid_unknown_fields=True):
    """period: a month that is over."""

    tenant_id: str
    period: MonthText


class VoidRequest(msgspec.Struct, forbid_unknown_fields=True):
    reason: Reason


class RefundRequest(msgspec.Struct, forbid_unknown_fields=True):
    """event_ids: the charges to give back; leave it out for all that are left."""

    reason: Reason
    event_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=invoices.MOST_CREDITED)] | None = None


class InvoiceLine(msgspec.Struct):
    """An invoice or a draft. due_usdc: what is still to be paid. issued_at: null on a draft."""

    invoice_id: str
    tenant_id: str
    period: str
    supplement: int
    state: State
    events: int
    total_usdc: str
    due_usdc: str
    issued_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None


class AdminInvoiceRoutes(Controller):
    """The invoices of all tenants. What is issued is never edited: a credit note gives charges back."""

    path = "/v2/admin/invoices"
    tags = TAGS

    db: Database
    clock: Clock
    once: Once

    @get("/", operation_id="admin_list_invoices", **admits(Right.BOOKS, 404))
    async def listed(
        self,
        tenant_id: FromQuery[str | None] = None,
        standing: Annotated[Literal["draft", "issued", "paid", "void"] | None, QueryParameter(name="state")] = None,
        period: OneMonth = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[InvoiceLine]:
        """Invoices of all tenants, newest first, drafts among them."""
        wanted = Wanted(
            None if tenant_id is None else known_id(TenantId, tenant_id),
            standing,
            None if period is None else usage.month_named(period).name,
        )
        below = after(cursor)
        rows = await self.db.read(lambda tx: invoices.find(tx, wanted, below, limit + 1))
        return page(rows, limit, _line, lambda invoice: invoice.invoice_id)

    @get("/{invoice_id:str}", operation_id="admin_get_invoice", **admits(Right.BOOKS, 404))
    async def one(self, invoice_id: FromPath[str]) -> BillView:
        """One issued invoice with its lines and credit notes."""
        wanted = known_id(InvoiceId, invoice_id)

        async def body(tx: Tx) -> Bill:
            owner = await views_store.owner_of(tx, wanted)
            if owner is None:
                raise NotFound("No such invoice.")
            return await invoices.bill(tx, owner, wanted)

        return bill_view(await self.db.read(body))

    @post("/", status_code=201, operation_id="admin_issue_invoice", **admits(Right.BILL, 404, 409, 422))
    async def issue(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        data: JSONBody[IssueRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[InvoiceView]:
        """Issue a tenant's invoice of a month that is over; again: the invoice as it is. A job does it by itself."""
        tenant, month = known_id(TenantId, data.tenant_id), usage.month_named(data.period)
        trace = request_id(request)

        async def work(tx: Tx) -> InvoiceView:
            by = By(admin.actor, self.clock.now(), trace)
            return invoice_view(await invoices.issue_now(tx, tenant, month, by))

        return await self.once.answer(request, admin, idempotency_key, 201, work)

    @post(
        "/{invoice_id:str}/void",
        status_code=200,
        operation_id="admin_void_invoice",
        **admits(Right.MONEY, 404, 409, 422),
    )
    async def void(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        invoice_id: FromPath[str],
        data: JSONBody[VoidRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[InvoiceView]:
        """Take an issued invoice back: charges on credit are reversed, so nothing is due on it."""
        wanted, by = known_id(InvoiceId, invoice_id), By(admin.actor, self.clock.now(), request_id(request))

        async def work(tx: Tx) -> InvoiceView:
            return invoice_view(await invoices.void(tx, wanted, data.reason, by))

        return await self.once.answer(request, admin, idempotency_key, 200, work)

    @post(
        "/{invoice_id:str}/refunds",
        status_code=201,
        operation_id="admin_refund_invoice",
        **admits(Right.MONEY, 404, 409, 422),
    )
    async def refund(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        invoice_id: FromPath[str],
        data: JSONBody[RefundRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[CreditNoteView]:
        """Give charges back by a credit note: off what is due, or to the balance where they were paid."""
        wanted, trace = known_id(InvoiceId, invoice_id), request_id(request)
        events = None if data.event_ids is None else [known_id(EventId, each) for each in data.event_ids]

        async def work(tx: Tx) -> CreditNoteView:
            by = By(admin.actor, self.clock.now(), trace)
            return note_view(await invoices.credit_note(tx, wanted, events, data.reason, by))

        return await self.once.answer(request, admin, idempotency_key, 201, work)


def _line(invoice: Invoice) -> InvoiceLine:
    return InvoiceLine(
        invoice_id=str(invoice.invoice_id),
        tenant_id=str(invoice.tenant_id),
        period=invoice.period,
        supplement=invoice.supplement,
        state=invoice.state,
        events=invoice.event_count,
        total_usdc=str(invoice.total),
        due_usdc=str(invoice.due),
        issued_at=invoice.issued_at,
        paid_at=invoice.paid_at,
        voided_at=invoice.voided_at,
    )
