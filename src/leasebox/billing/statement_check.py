"""Checking a downloaded statement offline, row by row, against its invoice. Needs nothing but the two."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import NoReturn, TypeVar

from leasebox.billing.proof import ProofId
from leasebox.billing.statement import (
    EVENT_COLUMNS,
    FORMAT,
    HEAD_HEADER,
    HEAD_NAMES,
    LINE_COLUMNS,
    InvoiceHead,
    InvoiceId,
    Statement,
    StatementLine,
    UsageEvent,
    head_cells,
    head_over,
    leaf_of,
    month_of,
    sum_up,
)
from leasebox.values.clock import rfc3339
from leasebox.values.ids import EventId, Id, MalformedId, TenantId
from leasebox.values.money import MalformedMoney, MoneyOutOfRange, Usdc

MOST_QUANTITY = 2**63 - 1
_LINE_HEADER_ROW = 2 + len(HEAD_NAMES)
_AnyId = TypeVar("_AnyId", bound=Id)
_FORMAT = re.compile(re.escape(FORMAT))
_NAME = re.compile(r"[a-z_]+")
_METER = re.compile(r"[a-z]+(?:\.[a-z]+)*")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_PERIOD = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?Z")
_HASH = re.compile(r"[0-9a-f]{64}")


class StatementFault(Enum):
    """What is wrong with a statement; the value is a stable word for programs."""

    LAYOUT = "layout"  # a row is missing, in excess, in the wrong place or of the wrong width
    CELL = "cell"  # a cell is not written as it must be
    ORDER = "order"  # seq has a gap or an event stands twice or out of place
    PERIOD = "period"  # the event happened in another month
    AMOUNT = "amount"  # unit price × paid quantity is something else
    PRICE = "price"  # one price version with two unit prices
    LEAF = "leaf"  # the row is not the one that its leaf hash was made of
    LINE = "line"  # the line is not the sum of its events
    HEAD = "head"  # the head row does not follow from the events
    INVOICE = "invoice"  # the statement agrees with itself, but not with the invoice


@dataclass(frozen=True, slots=True)
class Unsound:
    """Where a statement is first wrong: row counts from 1, header rows included."""

    row: int
    fault: StatementFault
    detail: str


class _Wrong(Exception):
    """Carries an Unsound from the row that found it to the verb that answers it."""

    def __init__(self, row: int, fault: StatementFault, detail: str) -> None:
        super().__init__(detail)
        self.unsound = Unsound(row, fault, detail)


def read_head(csv_text: str) -> InvoiceHead | Unsound:
    """What the statement itself says its invoice is; believed by nobody until it is compared. Never raises."""
    try:
        return _Reader(csv_text).head
    except _Wrong as wrong:
        return wrong.unsound


def verify_statement(csv_text: str, invoice: InvoiceHead) -> Statement | Unsound:
    """Check a downloaded statement against its invoice, offline: the statement, or the first row that is wrong.

    Each event row is checked by itself (form, order, month, amount, leaf hash), then lines and head against the events,
    then the head against the invoice. A forger who also mends leaf hash, line, total and root of a row is caught by
    the last, at the row `statement_hash`; which event it was, an inclusion proof then tells. Never raises.
    """
    try:
        reader = _Reader(csv_text)
        named = replace(reader.head, invoice_id=invoice.invoice_id, tenant_id=invoice.tenant_id, period=invoice.period)
        reader.compare_heads(named, StatementFault.INVOICE)  # first: every event's leaf depends on these names
        statement = Statement(reader.head, reader.lines(), reader.events())
        reader.compare_sums(statement)
        reader.compare_heads(invoice, StatementFault.INVOICE)
    except _Wrong as wrong:
        return wrong.unsound
    return statement


class _Reader:
    """Walks the rows of a CSV text; every complaint is a _Wrong that names its row."""

    def __init__(self, csv_text: str) -> None:
        lines = csv_text.removeprefix("\ufeff").removesuffix("\n").split("\n")
        self._rows = [line.removesuffix("\r").split(",") for line in lines]
        self.head = self._head()
        after_lines = (row for row in range(_LINE_HEADER_ROW + 1, len(self._rows) + 1) if self._row(row)[0] != "line")
        self._event_header_row = next(after_lines, len(self._rows) + 1)

    def lines(self) -> tuple[StatementLine, ...]:
        self._demand(_LINE_HEADER_ROW, ("record", *LINE_COLUMNS))
        rows = range(_LINE_HEADER_ROW + 1, self._event_header_row)
        return tuple(self._cells(row, "line", LINE_COLUMNS).line() for row in rows)

    def events(self) -> tuple[UsageEvent, ...]:
        self._demand(self._event_header_row, ("record", *EVENT_COLUMNS))
        found: list[UsageEvent] = []
        prices: dict[tuple[str, int], Usdc] = {}
        for row in range(self._event_header_row + 1, len(self._rows) + 1):
            event = self._event(row, found)
            if prices.setdefault((event.meter, event.price_version), event.unit_price) != event.unit_price:
                raise _Wrong(row, StatementFault.PRICE, f"price version {event.price_version} had another unit price")
            found.append(event)
        return tuple(found)

    def compare_sums(self, statement: Statement) -> None:
        """Lines and head against what the events add up to."""
        try:
            lines = sum_up(statement.events)
            head = head_over(self.head.invoice_id, self.head.tenant_id, self.head.period, statement.events)
        except MoneyOutOfRange as too_much:
            raise _Wrong(_LINE_HEADER_ROW, StatementFault.LINE, str(too_much)) from None
        for at in range(max(len(lines), len(statement.lines))):
            if lines[at : at + 1] != statement.lines[at : at + 1]:
                raise _Wrong(_LINE_HEADER_ROW + 1 + at, StatementFault.LINE, "the line is not the sum of its events")
        self.compare_heads(head, StatementFault.HEAD)

    def compare_heads(self, other: InvoiceHead, fault: StatementFault) -> None:
        pairs = zip(head_cells(self.head), head_cells(other), strict=True)
        for row, ((name, said), (_, true)) in enumerate(pairs, 2):
            if said != true:
                source = "the invoice" if fault is StatementFault.INVOICE else "the events"
                raise _Wrong(row, fault, f"{name} is {said} here and {true} by {source}")

    def _head(self) -> InvoiceHead:
        self._demand(1, HEAD_HEADER)
        values = {}
        for row, name in enumerate(HEAD_NAMES, 2):
            cells = self._cells(row, "head", HEAD_HEADER[1:])
            if cells.text(_NAME) != name:
                raise _Wrong(row, StatementFault.LAYOUT, f"the head row {name} is due")
            values[name] = cells
        values["format"].text(_FORMAT)
        return InvoiceHead(
            values["invoice_id"].id(InvoiceId),
            values["tenant_id"].id(TenantId),
            values["period"].text(_PERIOD),
            values["events"].number(),
            values["total_usdc"].usdc(),
            bytes.fromhex(values["statement_hash"].text(_HASH)),
        )

    def _event(self, row: int, before: Sequence[UsageEvent]) -> UsageEvent:
        cells = self._cells(row, "event", EVENT_COLUMNS)
        seq, event_id, occurred_at = cells.number(), cells.id(EventId), cells.time()
        said = cells.line()
        event = UsageEvent(
            event_id=event_id,
            tenant_id=self.head.tenant_id,
            occurred_at=occurred_at,
            meter=said.meter,
            price_version=said.price_version,
            unit_price=said.unit_price,
            free_quantity=said.free_quantity,
            paid_quantity=said.paid_quantity,
            proof_id=cells.proof_id(),
        )
        if seq != len(before) or (before and before[-1].event_id.int >= event_id.int):
            raise _Wrong(row, StatementFault.ORDER, f"seq {len(before)} is due and ids ascend: a row is lost or moved")
        if month_of(occurred_at) != self.head.period:
            raise _Wrong(row, StatementFault.PERIOD, f"{rfc3339(occurred_at)} is not in {self.head.period}")
        if said.unit_price.micros * said.paid_quantity != said.amount.micros:
            raise _Wrong(row, StatementFault.AMOUNT, f"{said.paid_quantity} × {said.unit_price} is not {said.amount}")
        if leaf_of(event).hex() != cells.text(_HASH):
            raise _Wrong(row, StatementFault.LEAF, "the row is not the one that its leaf hash was made of")
        return event

    def _row(self, row: int) -> list[str]:
        return self._rows[row - 1] if row <= len(self._rows) else [""]

    def _cells(self, row: int, record: str, columns: Sequence[str]) -> "_Cells":
        first, *cells = self._row(row)
        if first != record or len(cells) != len(columns):
            raise _Wrong(row, StatementFault.LAYOUT, f"a row of {record} and {len(columns)} cells is due")
        return _Cells(row, cells)

    def _demand(self, row: int, header: Sequence[str]) -> None:
        if self._row(row) != list(header):
            raise _Wrong(row, StatementFault.LAYOUT, f"the header row {','.join(header)} is due")


class _Cells:
    """Reads the cells of one row from left to right, each only in the spelling that `to_csv` gives it."""

    def __init__(self, row: int, cells: Sequence[str]) -> None:
        self._number = row
        self._left = list(reversed(cells))

    def text(self, form: re.Pattern[str]) -> str:
        cell = self._left.pop()
        if not form.fullmatch(cell):
            self._refuse(cell)
        return cell

    def number(self) -> int:
        cell = self.text(_NUMBER)
        if int(cell) > MOST_QUANTITY:
            self._refuse(cell)
        return int(cell)

    def id(self, kind: type[_AnyId]) -> _AnyId:
        cell = self._left.pop()
        try:
            return kind.parse(cell)
        except MalformedId:
            self._refuse(cell)

    def proof_id(self) -> ProofId | None:
        if self._left[-1]:
            return self.id(ProofId)
        self._left.pop()
        return None

    def time(self) -> datetime:
        cell = self.text(_TIME)
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError:
            self._refuse(cell)
        if rfc3339(moment) != cell:
            self._refuse(cell)
        return moment

    def usdc(self) -> Usdc:
        cell = self._left.pop()
        try:
            amount = Usdc.parse(cell)
        except (MalformedMoney, MoneyOutOfRange):
            self._refuse(cell)
        if str(amount) != cell:
            self._refuse(cell)
        return amount

    def line(self) -> StatementLine:
        return StatementLine(self.text(_METER), self.number(), self.usdc(), self.number(), self.number(), self.usdc())

    def _refuse(self, cell: str) -> NoReturn:
        raise _Wrong(self._number, StatementFault.CELL, f"{cell[:80]!r} is not written as it must be")
