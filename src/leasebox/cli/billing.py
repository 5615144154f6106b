"""`leasebox billing`: what a payer checks alone, without the server and without trusting it.

Exit statuses: 0 sound, 1 not, 2 wrongly called or a file that cannot be read.
"""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from leasebox.billing.statement import HEAD_NAMES, InvoiceHead, InvoiceId, Statement, StatementLine
from leasebox.billing.statement_check import StatementFault, Unsound, read_head, verify_statement
from leasebox.cli import refuse
from leasebox.cli.agent_output import REFUSED, AgentCommand, answer, facts, plain, table
from leasebox.values.ids import MalformedId, TenantId
from leasebox.values.money import MalformedMoney, MoneyOutOfRange, Usdc

_FIRST_LINE_ROW = 1 + len(HEAD_NAMES) + 2  # rows count from 1: two header rows and the head stand before the lines
_MANY_ROWS = 20_000  # about a second
_Line = tuple[str, int, str, int, int, str]


class _LineTold(msgspec.Struct):
    meter: str
    price_version: int
    unit_price_usdc: str
    free_quantity: int
    paid_quantity: int
    amount_usdc: str


class _InvoiceTold(msgspec.Struct):
    """What GET /v2/billing/invoices/{id} says, as far as a statement is checked against it."""

    invoice_id: str
    tenant_id: str
    period: str
    events: int
    total_usdc: str
    statement_hash: str
    lines: list[_LineTold]


@click.group()
def billing() -> None:
    """Check what you are billed, offline."""


@billing.command(cls=AgentCommand)
@click.argument("statement", type=click.Path(path_type=Path))
@click.option("--invoice", type=click.Path(path_type=Path), help="The invoice, as GET /v2/billing/invoices/ID gave it.")
@click.option(
    "--head", type=click.Path(path_type=Path), help="A copy of the statement, or of its head rows, of before."
)
def verify(statement: Path, invoice: Path | None, head: Path | None) -> None:
    """Check a downloaded statement row by row, and against its invoice; status 1 and the first wrong row if it is not.

    Without --invoice or --head it is checked against itself only, which a forger can see to.
    """
    if invoice is not None and head is not None:
        raise click.UsageError("--invoice and --head say the same thing; give one of them.")
    text = _read(statement)
    told = None if invoice is None else _invoice(invoice)
    known: InvoiceHead | Unsound
    if told is not None:
        against, known = "invoice", _head_told(told)
    elif head is not None:
        against, known = "head", _head_of(head)
    else:
        against, known = "itself", read_head(text)
    found = known if isinstance(known, Unsound) else _checked(text, known)
    if isinstance(found, Statement) and told is not None:
        found = _against_lines(found, told.lines) or found
    if isinstance(found, Unsound):
        said = {"sound": False, "row": found.row, "fault": found.fault.value, "detail": found.detail}
        answer(said, lambda console: console.print(f"NOT SOUND: row {found.row}: {plain(found.detail)}"))
        click.get_current_context().exit(REFUSED)
    answer(_figures(found, against), lambda console: _draw(console, found, against))


def _checked(text: str, known: InvoiceHead) -> Statement | Unsound:
    rows = text.count("\n")
    console = Console(stderr=True)
    if rows < _MANY_ROWS or not console.is_terminal:
        return verify_statement(text, known)
    with console.status(f"checking {rows:,} rows"):
        return verify_statement(text, known)


def _against_lines(statement: Statement, told: list[_LineTold]) -> Unsound | None:
    ours, theirs = [_cells(line) for line in statement.lines], [msgspec.structs.astuple(line) for line in told]
    for at in range(max(len(ours), len(theirs))):
        if ours[at : at + 1] != theirs[at : at + 1]:
            said = theirs[at] if at < len(theirs) else "nothing"
            return Unsound(_FIRST_LINE_ROW + at, StatementFault.INVOICE, f"the invoice says {said} for this line")
    return None


def _head_told(told: _InvoiceTold) -> InvoiceHead:
    try:
        return InvoiceHead(
            InvoiceId.parse(told.invoice_id),
            TenantId.parse(told.tenant_id),
            told.period,
            told.events,
            Usdc.parse(told.total_usdc),
            bytes.fromhex(told.statement_hash),
        )
    except (MalformedId, MalformedMoney, MoneyOutOfRange, ValueError):
        refuse(["the invoice has an id, amount or hash that is none"])


def _invoice(path: Path) -> _InvoiceTold:
    try:
        return msgspec.json.decode(_read(path), type=_InvoiceTold)
    except msgspec.MsgspecError as fault:
        refuse([f"{path} is no invoice: {fault}"])


def _head_of(path: Path) -> InvoiceHead:
    found = read_head(_read(path))
    if isinstance(found, Unsound):
        refuse([f"{path} has no head: row {found.row}: {found.detail}"])
    return found


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        refuse([f"cannot read {path}: {getattr(fault, 'strerror', None) or 'it is not UTF-8'}"])


def _figures(statement: Statement, against: str) -> dict[str, Any]:
    head = statement.head
    names = [field.encode_name for field in msgspec.structs.fields(_LineTold)]
    return {
        "sound": True,
        "checked_against": against,
        "invoice_id": str(head.invoice_id),
        "tenant_id": str(head.tenant_id),
        "period": head.period,
        "events": head.event_count,
        "total_usdc": str(head.total),
        "statement_hash": head.statement_hash.hex(),
        "lines": [dict(zip(names, _cells(line), strict=True)) for line in statement.lines],
    }


def _draw(console: Console, statement: Statement, against: str) -> None:
    head = statement.head
    console.print(f"sound, checked against {'itself only' if against == 'itself' else f'the {against} given'}")
    rows = (
        ("invoice", str(head.invoice_id)),
        ("period", head.period),
        ("events", str(head.event_count)),
        ("total", f"{head.total} USDC"),
        ("hash", head.statement_hash.hex()),
    )
    console.print(facts(rows))
    headings = ("meter", "version", "unit price", "free", "paid", "amount")
    console.print(table(headings, [[str(cell) for cell in _cells(line)] for line in statement.lines]))


def _cells(line: StatementLine) -> _Line:
    return (
        line.meter,
        line.price_version,
        str(line.unit_price),
        line.free_quantity,
        line.paid_quantity,
        str(line.amount),
    )
