"""Statements: an invoice's usage events as text that its payer can check without us.

A statement is CSV (RFC 4180, no cell ever needs quotes) of three tables, each under a header row that begins with
`record`: `head` rows (name, value), `line` rows (sums per meter and price version), `event` rows in ascending order of
event id. The invoice's `statement_hash` is the Merkle tree hash (RFC 6962 §2.1) over its events in that order. An
event's canonical bytes are eleven texts, each after its length in four bytes, big-endian: `leasebox-usage/1`, the
tenant id, then the cells of its row as printed from `event_id` to `proof_id`. `leaf_hash` is SHA-256(0x00 ‖ those).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from leasebox.audit import merkle
from leasebox.billing.proof import ProofId
from leasebox.values.clock import rfc3339
from leasebox.values.ids import EventId, Id, TenantId
from leasebox.values.money import MoneyOutOfRange, Usdc

FORMAT = "leasebox-statement/1"
HEAD_HEADER = ("record", "name", "value")
LINE_COLUMNS = ("meter", "price_version", "unit_price_usdc", "free_quantity", "paid_quantity", "amount_usdc")
EVENT_COLUMNS = ("seq", "event_id", "occurred_at", *LINE_COLUMNS, "proof_id", "leaf_hash")
HEAD_NAMES = ("format", "invoice_id", "tenant_id", "period", "events", "total_usdc", "statement_hash")
_EVENT_FORMAT = "leasebox-usage/1"


class InvoiceId(Id):
    prefix = "inv"


class ForeignEvent(ValueError):
    """An event that cannot stand in the statement: another tenant, month or unit price, or there already."""


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One metered act. `unit_price` is its price version's; the free part of it costs nothing."""

    event_id: EventId
    tenant_id: TenantId
    occurred_at: datetime
    meter: str  # not Meter: a statement outlives the meters of its day
    price_version: int
    unit_price: Usdc
    free_quantity: int
    paid_quantity: int
    proof_id: ProofId | None = None

    @property
    def amount(self) -> Usdc:
        """Unit price × paid quantity, exactly. Raises MoneyOutOfRange."""
        return self.unit_price * self.paid_quantity


@dataclass(frozen=True, slots=True)
class StatementLine:
    """All events of one meter at one price version."""

    meter: str
    price_version: int
    unit_price: Usdc
    free_quantity: int
    paid_quantity: int
    amount: Usdc


@dataclass(frozen=True, slots=True)
class InvoiceHead:
    """What the invoice itself says, and all that is needed to check a statement against it."""

    invoice_id: InvoiceId
    tenant_id: TenantId
    period: str  # "2026-11", a calendar month in UTC
    event_count: int
    total: Usdc
    statement_hash: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """Head, lines by meter and version, events by id. `draw_up` and `verify_statement` make them."""

    head: InvoiceHead
    lines: tuple[StatementLine, ...]
    events: tuple[UsageEvent, ...]


@dataclass(frozen=True, slots=True)
class EventProof:
    """That an event is number `index` of its statement's events (RFC 6962 §2.1.1)."""

    index: int
    path: merkle.Proof


def event_bytes(event: UsageEvent) -> bytes:
    """The canonical bytes of an event, as the head of this file lays them down. Raises MoneyOutOfRange."""
    texts = (_EVENT_FORMAT, str(event.tenant_id), *_event_cells(event))
    blobs = (text.encode() for text in texts)
    return b"".join(len(blob).to_bytes(4) + blob for blob in blobs)


def leaf_of(event: UsageEvent) -> bytes:
    """The event's leaf in the statement's tree (32 bytes)."""
    return merkle.leaf_hash(event_bytes(event))


def draw_up(invoice_id: InvoiceId, tenant_id: TenantId, period: str, events: Iterable[UsageEvent]) -> Statement:
    """The statement over these events, whatever their order. Raises ForeignEvent, MoneyOutOfRange."""
    ordered = tuple(sorted(events, key=lambda event: event.event_id.int))
    for event in ordered:
        if event.tenant_id != tenant_id or month_of(event.occurred_at) != period:
            raise ForeignEvent(f"{event.event_id} is another tenant's or month's")
    if any(before.event_id == after.event_id for before, after in pairwise(ordered)):
        raise ForeignEvent("an event stands there twice")
    return Statement(head_over(invoice_id, tenant_id, period, ordered), sum_up(ordered), ordered)


def sum_up(events: Iterable[UsageEvent]) -> tuple[StatementLine, ...]:
    """Lines per meter and price version, sorted by them. Raises ForeignEvent if a version has two unit prices."""
    grouped: dict[tuple[str, int], list[UsageEvent]] = {}
    for event in events:
        group = grouped.setdefault((event.meter, event.price_version), [])
        if group and group[0].unit_price != event.unit_price:
            raise ForeignEvent(f"{event.meter} version {event.price_version} has two unit prices")
        group.append(event)
    return tuple(_line_of(grouped[key]) for key in sorted(grouped))


def to_csv(statement: Statement) -> str:
    """The statement as CSV text, lines ending in CRLF; the same statement always gives the same text."""
    rows: list[Sequence[str]] = [HEAD_HEADER]
    rows += [("head", name, value) for name, value in head_cells(statement.head)]
    rows.append(("record", *LINE_COLUMNS))
    rows += [("line", *_line_cells(line)) for line in statement.lines]
    rows.append(("record", *EVENT_COLUMNS))
    rows += [
        ("event", str(seq), *_event_cells(event), leaf_of(event).hex()) for seq, event in enumerate(statement.events)
    ]
    return "".join(",".join(row) + "\r\n" for row in rows)


def prove_event(statement: Statement, event_id: EventId) -> EventProof | None:
    """The inclusion proof of one of the statement's events; None if it has no such event."""
    index = next((at for at, event in enumerate(statement.events) if event.event_id == event_id), None)
    if index is None:
        return None
    leaves = [leaf_of(event) for event in statement.events]
    return EventProof(index, merkle.prove_inclusion(merkle.in_memory(leaves), index, len(leaves)))


def verify_event(event: UsageEvent, proof: EventProof, invoice: InvoiceHead) -> bool:
    """Whether exactly this event is charged in the invoice. Never raises."""
    try:
        leaf = leaf_of(event)
    except MoneyOutOfRange:
        return False
    return event.tenant_id == invoice.tenant_id and merkle.verify_inclusion(
        leaf, proof.index, invoice.event_count, proof.path, invoice.statement_hash
    )


def head_over(invoice_id: InvoiceId, tenant_id: TenantId, period: str, ordered: Sequence[UsageEvent]) -> InvoiceHead:
    """The head that follows from these events, given in order of id. Raises MoneyOutOfRange."""
    total = Usdc.total(event.amount for event in ordered)
    root = merkle.root_of(leaf_of(event) for event in ordered)
    return InvoiceHead(invoice_id, tenant_id, period, len(ordered), total, root)


def head_cells(head: InvoiceHead) -> tuple[tuple[str, str], ...]:
    """Name and value of each head row, as printed."""
    values = (
        FORMAT,
        str(head.invoice_id),
        str(head.tenant_id),
        head.period,
        str(head.event_count),
        str(head.total),
        head.statement_hash.hex(),
    )
    return tuple(zip(HEAD_NAMES, values, strict=True))


def month_of(moment: datetime) -> str:
    """The calendar month in UTC, `2026-11`."""
    return rfc3339(moment)[:7]


def _line_of(events: Sequence[UsageEvent]) -> StatementLine:
    first = events[0]
    return StatementLine(
        first.meter,
        first.price_version,
        first.unit_price,
        sum(event.free_quantity for event in events),
        sum(event.paid_quantity for event in events),
        Usdc.total(event.amount for event in events),
    )


def _line_cells(line: StatementLine | UsageEvent) -> tuple[str, ...]:
    return (
        line.meter,
        str(line.price_version),
        str(line.unit_price),
        str(line.free_quantity),
        str(line.paid_quantity),
        str(line.amount),
    )


def _event_cells(event: UsageEvent) -> tuple[str, ...]:
    proof = "" if event.proof_id is None else str(event.proof_id)
    return (str(event.event_id), rfc3339(event.occurred_at), *_line_cells(event), proof)
