"""Routes of invoices: list, look, download the statement, prove one charge, pay."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from leasebox.billing import invoices, usage
from leasebox.billing.invoice_model import Bill, CreditNote, Evidence, Invoice, Wanted
from leasebox.billing.invoices import By
from leasebox.billing.statement import InvoiceId, StatementLine
from leasebox.billing.usage_http import Period
from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.values.clock import Clock
from leasebox.values.ids import EventId

_ROWS = 256  # of a statement at once: about 5 ms of the event loop
Issued = Literal["issued", "paid", "void"]


class InvoiceView(msgspec.Struct):
    """A month's bill. total_usdc = prepaid_usdc (from the balance, as it was used) + on_credit_usdc.

    due_usdc = on_credit_usdc - credited_usdc (given back since) - settled_usdc (paid). supplement: 0 for the month's
    invoice; 1 and on hold calls that were committed only after it was closed. statement_hash: RFC 6962 root, in hex.
    """

    invoice_id: str
    tenant_id: str
    period: str
    supplement: int
    state: Issued
    events: int
    total_usdc: str
    prepaid_usdc: str
    on_credit_usdc: str
    credited_usdc: str
    settled_usdc: str
    due_usdc: str
    statement_hash: str
    issued_at: datetime
    paid_at: datetime | None
    voided_at: datetime | None


class LineView(msgspec.Struct):
    """All events of one meter at one price version. amount_usdc = unit_price_usdc × paid_quantity."""

    meter: str
    price_version: int
    unit_price_usdc: str
    free_quantity: int
    paid_quantity: int
    amount_usdc: str


class CreditNoteView(msgspec.Struct):
    """Charges that were given back: off what is due, or to the balance where they had been paid."""

    credit_note_id: str
    amount_usdc: str
    reason: str
    at: datetime
    event_ids: list[str]


class BillView(InvoiceView):
    """starts_at inclusive, ends_at exclusive."""

    starts_at: datetime
    ends_at: datetime
    lines: list[LineView]
    credit_notes: list[CreditNoteView]


class ProofOfEventView(msgspec.Struct):
    """That the event is number `index`, from 0, of the invoice's `size` events (RFC 6962 §2.1.1); hashes in hex.

    leaf_hash: SHA-256 over a zero byte and eleven texts, each after its length in four bytes, big-endian:
    leasebox-usage/1, the tenant id, then what stands here from event_id to proof_id (null: no text). hashes: from the
    leaf's sibling upwards. /agents-guide has a program that checks it.
    """

    invoice_id: str
    event_id: str
    occurred_at: datetime
    meter: str
    price_version: int
    unit_price_usdc: str
    free_quantity: int
    paid_quantity: int
    amount_usdc: str
    proof_id: str | None
    index: int
    size: int
    leaf_hash: str
    hashes: list[str]
    statement_hash: str


class InvoiceRoutes(Controller):
    """What is billed, and the evidence for it."""

    path = "/v2/billing/invoices"
    tags = ["Paying"]

    db: Database
    clock: Clock
    once: Once

    @get("/", operation_id="list_invoices", **needs("billing:read"))
    async def listed(
        self,
        caller: Given[Caller],
        period: Period = None,
        standing: Annotated[Issued | None, QueryParameter(name="state")] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[InvoiceView]:
        """Your invoices, newest first. A month without usage has none."""
        month = None if period is None else usage.month_named(period).name
        wanted, below = Wanted(state=standing, period=month), after(cursor)
        rows = await self.db.read(lambda tx: invoices.listed(tx, caller.tenant_id, wanted, below, limit + 1))
        return page(rows, limit, invoice_view, lambda invoice: invoice.invoice_id)

    @get("/{invoice_id:str}", operation_id="get_invoice", **needs("billing:read", 404))
    async def one(self, caller: Given[Caller], invoice_id: FromPath[str]) -> BillView:
        """One invoice with its lines and credit notes."""
        wanted = known_id(InvoiceId, invoice_id)
        return bill_view(await self.db.read(lambda tx: invoices.bill(tx, caller.tenant_id, wanted)))

    @get(
        "/{invoice_id:str}/statement.csv",
        operation_id="get_statement",
        media_type="text/csv",
        **needs("billing:read", 404),
    )
    async def statement(self, caller: Given[Caller], invoice_id: FromPath[str]) -> Stream:
        """Every event of the invoice; `leasebox billing verify` checks the file against the invoice, offline."""
        wanted = known_id(InvoiceId, invoice_id)
        invoice = await self.db.read(lambda tx: invoices.get(tx, caller.tenant_id, wanted))
        opening = await self.db.read(lambda tx: invoices.statement_opening(tx, invoice))
        return Stream(
            self._statement(invoice, opening),
            media_type="text/csv; charset=utf-8",
            headers={
                "content-disposition": f'attachment; filename="{invoice.invoice_id}.csv"',
                "cache-control": "private, no-store",
            },
        )

    @get(
        "/{invoice_id:str}/events/{event_id:str}/proof",
        operation_id="prove_invoice_event",
        **needs("billing:read", 404),
    )
    async def prove(
        self, caller: Given[Caller], invoice_id: FromPath[str], event_id: FromPath[str]
    ) -> ProofOfEventView:
        """That one event is in the invoice, so that its statement_hash vouches for it."""
        wanted, event = known_id(InvoiceId, invoice_id), known_id(EventId, event_id)
        evidence = await self.db.read(lambda tx: invoices.prove(tx, caller.tenant_id, wanted, event))
        return _proof_view(wanted, evidence)

    @post("/{invoice_id:str}/pay", status_code=200, operation_id="pay_invoice", **needs("billing:pay", 402, 404, 409))
    async def pay(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        invoice_id: FromPath[str],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[InvoiceView]:
        """Pay what is due from your balance; again: the same answer."""
        wanted, trace = known_id(InvoiceId, invoice_id), request_id(request)

        async def work(tx: Tx) -> InvoiceView:
            by = By(caller.actor, self.clock.now(), trace)
            return invoice_view(await invoices.pay(tx, caller.tenant_id, wanted, by))

        return await self.once.answer(request, caller, idempotency_key, 200, work)

    async def _statement(self, invoice: Invoice, opening: str) -> AsyncIterator[str]:
        """A page at a time, each read by itself: a slow reader keeps no connection from others."""
        yield opening
        for first in range(0, invoice.event_count, _ROWS):
            yield await self._rows(invoice, first)

    async def _rows(self, invoice: Invoice, first: int) -> str:
        return await self.db.read(lambda tx: invoices.statement_rows(tx, invoice, first, first + _ROWS))


def invoice_view(invoice: Invoice) -> InvoiceView:
    """An issued invoice as the API shows it."""
    return InvoiceView(**_cells(invoice))


def bill_view(bill: Bill) -> BillView:
    """The same with lines and credit notes."""
    month = usage.month_named(bill.invoice.period)
    return BillView(
        **_cells(bill.invoice),
        starts_at=month.start,
        ends_at=month.end,
        lines=[_line_view(line) for line in bill.lines],
        credit_notes=[note_view(note) for note in bill.notes],
    )


def note_view(note: CreditNote) -> CreditNoteView:
    """A credit note as the API shows it."""
    events = [str(event_id) for event_id in note.event_ids]
    return CreditNoteView(str(note.note_id), str(note.amount), note.reason, note.at, events)


def _cells(invoice: Invoice) -> dict[str, Any]:
    return {
        "invoice_id": str(invoice.invoice_id),
        "tenant_id": str(invoice.tenant_id),
        "period": invoice.period,
        "supplement": invoice.supplement,
        "state": invoice.state,
        "events": invoice.event_count,
        "total_usdc": str(invoice.total),
        "prepaid_usdc": str(invoice.prepaid),
        "on_credit_usdc": str(invoice.on_credit),
        "credited_usdc": str(invoice.credited),
        "settled_usdc": str(invoice.settled),
        "due_usdc": str(invoice.due),
        "statement_hash": invoice.head.statement_hash.hex(),
        "issued_at": invoice.issued_at,
        "paid_at": invoice.paid_at,
        "voided_at": invoice.voided_at,
    }


def _line_view(line: StatementLine) -> LineView:
    return LineView(
        line.meter,
        line.price_version,
        str(line.unit_price),
        line.free_quantity,
        line.paid_quantity,
        str(line.amount),
    )


def _proof_view(invoice_id: InvoiceId, evidence: Evidence) -> ProofOfEventView:
    event = evidence.event
    return ProofOfEventView(
        invoice_id=str(invoice_id),
        event_id=str(event.event_id),
        occurred_at=event.occurred_at,
        meter=event.meter,
        price_version=event.price_version,
        unit_price_usdc=str(event.unit_price),
        free_quantity=event.free_quantity,
        paid_quantity=event.paid_quantity,
        amount_usdc=str(event.amount),
        proof_id=None if event.proof_id is None else str(event.proof_id),
        index=evidence.index,
        size=evidence.size,
        leaf_hash=evidence.leaf.hex(),
        hashes=[each.hex() for each in evidence.path],
        statement_hash=evidence.statement_hash.hex(),
    )
