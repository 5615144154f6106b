"""Frozen words of invoices."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Literal

import msgspec

from leasebox.audit import merkle
from leasebox.billing.statement import InvoiceHead, InvoiceId, StatementLine, UsageEvent
from leasebox.values.ids import EventId, Id, TenantId
from leasebox.values.money import Usdc

State = Literal["draft", "issued", "paid", "void"]


class CreditNoteId(Id):
    prefix = "crn"


class Undrawn(Enum):
    """Why there is no draft: nothing was used that is on no invoice yet, or calls are still being committed."""

    NOTHING = "nothing"
    UNSETTLED = "unsettled"


class Invoice(msgspec.Struct, frozen=True):
    """A tenant's bill for a UTC month, over exactly the events of its statement.

    supplement: 0, or 1 and on for what was committed after the one before was drawn up. total: prepaid (from the
    balance, as it was used) and on_credit. credited: how much of on_credit was given back since; settled: how much was
    paid. statement_hash: None on a draft.
    """

    invoice_id: InvoiceId
    tenant_id: TenantId
    period: str
    supplement: int
    state: State
    event_count: int
    total: Usdc
    prepaid: Usdc
    on_credit: Usdc
    credited: Usdc
    settled: Usdc
    statement_hash: bytes | None
    issued_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None

    @property
    def due(self) -> Usdc:
        """What is still to be paid."""
        return self.on_credit - self.credited - self.settled

    @property
    def head(self) -> InvoiceHead:
        """What its statement is checked against. Raises ValueError for a draft, which has none yet."""
        if self.statement_hash is None:
            raise ValueError("a draft has no statement")
        return InvoiceHead(
            self.invoice_id, self.tenant_id, self.period, self.event_count, self.total, self.statement_hash
        )


class CreditNote(msgspec.Struct, frozen=True):
    """Charges of an invoice that were given back. made_by: who, as in the audit log."""

    note_id: CreditNoteId
    amount: Usdc
    reason: str
    made_by: str
    at: datetime
    event_ids: tuple[EventId, ...]


class Bill(msgspec.Struct, frozen=True):
    """An invoice with its lines and credit notes."""

    invoice: Invoice
    lines: tuple[StatementLine, ...]
    notes: tuple[CreditNote, ...]


class Wanted(msgspec.Struct, frozen=True):
    """Which invoices an operator looks for; None: whatever."""

    tenant_id: TenantId | None = None
    state: State | None = None
    period: str | None = None


class Batch(msgspec.Struct, frozen=True):
    """What one step puts on a draft. credited: of on_credit, given back before. whole_at: with the last batch."""

    event_ids: Sequence[EventId]
    lines: Sequence[StatementLine]
    prepaid: Usdc
    on_credit: Usdc
    credited: Usdc
    chunk_hashes: bytes
    whole_at: datetime | None


class Evidence(msgspec.Struct, frozen=True):
    """That an event is number `index` of the `size` events of an invoice (RFC 6962 §2.1.1)."""

    event: UsageEvent
    leaf: bytes
    index: int
    size: int
    path: merkle.Proof
    statement_hash: bytes


class Progress(msgspec.Struct, frozen=True):
    """How far closing has come. period: the last month that is closed, None: none is. seen: as in `closed_months`."""

    period: str | None
    seen: int
