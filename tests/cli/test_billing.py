"""`leasebox billing verify`: a downloaded statement against its invoice, with no server; every forgery by its row."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from leasebox.billing.proof import ProofId
from leasebox.billing.statement import InvoiceId, Statement, UsageEvent, draw_up, to_csv
from leasebox.cli.billing import billing
from leasebox.values.ids import EventId, TenantId
from leasebox.values.money import Usdc

START = datetime(2026, 3, 1, tzinfo=UTC)
INVOICE, TENANT = InvoiceId(int=7 << 76 | 2 << 62 | 1), TenantId(int=7 << 76 | 2 << 62 | 2)
# Rows: 1 header, 2-8 head, 9 header, 10-11 lines, 12 header, 13-22 events.
EVENTS = 10
FIRST_EVENT_ROW = 13


def event(number: int) -> UsageEvent:
    """Every third is free, every fourth of another meter."""
    paid = number % 3
    return UsageEvent(
        event_id=EventId(int=(number + 1) << 80 | 7 << 76 | 2 << 62),
        tenant_id=TENANT,
        occurred_at=START + timedelta(minutes=number),
        meter="message.read" if number % 4 else "mailbox.lease",
        price_version=1,
        unit_price=Usdc(100 if number % 4 else 1_000),
        free_quantity=0 if paid else 1,
        paid_quantity=paid,
        proof_id=ProofId(int=number) if paid else None,
    )


def statement(count: int = EVENTS) -> Statement:
    return draw_up(INVOICE, TENANT, "2026-03", [event(number) for number in range(count)])


def invoice_of(whole: Statement) -> dict[str, Any]:
    """As GET /v2/billing/invoices/{id} gives it."""
    return {
        "invoice_id": str(whole.head.invoice_id),
        "tenant_id": str(whole.head.tenant_id),
        "period": whole.head.period,
        "state": "issued",
        "events": whole.head.event_count,
        "total_usdc": str(whole.head.total),
        "statement_hash": whole.head.statement_hash.hex(),
        "lines": [
            {
                "meter": line.meter,
                "price_version": line.price_version,
                "unit_price_usdc": str(line.unit_price),
                "free_quantity": line.free_quantity,
                "paid_quantity": line.paid_quantity,
                "amount_usdc": str(line.amount),
            }
            for line in whole.lines
        ],
        "credit_notes": [],
    }


class Desk:
    """A folder with the two files."""

    def __init__(self, folder: Path) -> None:
        self.statement, self.invoice = folder / "statement.csv", folder / "invoice.json"
        self.put(to_csv(statement()), invoice_of(statement()))

    def put(self, text: str, invoice: Any = None) -> None:
        self.statement.write_bytes(text.encode())
        if invoice is not None:
            self.invoice.write_text(json.dumps(invoice))

    def verify(self, *more: str) -> Result:
        return CliRunner().invoke(billing, ["verify", str(self.statement), *more])

    def against_invoice(self, *more: str) -> Result:
        return self.verify("--invoice", str(self.invoice), *more)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_sound_statement_and_its_figures(desk: Desk) -> None:
    done = desk.against_invoice()
    assert (done.exit_code, done.stderr) == (0, "")
    assert "sound, checked against the invoice given" in done.stdout
    whole = statement()
    for said in (str(INVOICE), "2026-03", "10", f"{whole.head.total} USDC", whole.head.statement_hash.hex()):
        assert said in done.stdout
    told = json.loads(desk.against_invoice("--json").stdout)
    assert (told["sound"], told["checked_against"], told["events"]) == (True, "invoice", EVENTS)
    assert told["lines"] == invoice_of(whole)["lines"]
    assert told["total_usdc"] == str(whole.head.total)


def test_against_a_head_kept_before_and_against_itself(desk: Desk, tmp_path: Path) -> None:
    head = tmp_path / "head.csv"
    head.write_text("".join(to_csv(statement()).splitlines(keepends=True)[:8]))
    assert "checked against the head given" in desk.verify("--head", str(head)).stdout
    alone = desk.verify()
    assert (alone.exit_code, "checked against itself only" in alone.stdout) == (0, True)
    desk.put(to_csv(statement(EVENTS - 1)))
    assert desk.verify().exit_code == 0, "who rewrote all of it is found only by what was kept"
    found = json.loads(desk.verify("--head", str(head), "--json").stdout)
    assert (found["sound"], found["row"], found["fault"]) == (False, 6, "invoice")


def cell(row: int, column: int, value: str) -> Callable[[list[list[str]]], object]:
    def change(rows: list[list[str]]) -> None:
        rows[row - 1][column] = value

    return change


def forged(number: int, **change: Any) -> Callable[[list[list[str]]], object]:
    """A statement in which all follows from the forged event: its leaf, the lines, the total, the hash."""

    def rewrite(rows: list[list[str]]) -> None:
        events = [replace(event(each), **change) if each == number else event(each) for each in range(EVENTS)]
        rows[:] = [line.split(",") for line in to_csv(draw_up(INVOICE, TENANT, "2026-03", events)).split("\r\n")]

    return rewrite


FREE, PAID, AMOUNT, PROOF, LEAF = 7, 8, 9, 10, 11  # columns of an event's row


@pytest.mark.parametrize(
    ("change", "row", "fault"),
    [
        (cell(FIRST_EVENT_ROW + 2, PAID, "1"), FIRST_EVENT_ROW + 2, "amount"),
        (cell(FIRST_EVENT_ROW + 2, FREE, "1"), FIRST_EVENT_ROW + 2, "leaf"),
        (cell(FIRST_EVENT_ROW + 2, AMOUNT, "0.000100"), FIRST_EVENT_ROW + 2, "amount"),
        (cell(FIRST_EVENT_ROW + 2, PROOF, ""), FIRST_EVENT_ROW + 2, "leaf"),
        (cell(FIRST_EVENT_ROW + 3, LEAF, "0" * 64), FIRST_EVENT_ROW + 3, "leaf"),
        (cell(FIRST_EVENT_ROW + 3, 3, "2026-03-01T03:00:01Z"), FIRST_EVENT_ROW + 3, "leaf"),
        (cell(FIRST_EVENT_ROW + 3, 3, "2026-04-01T00:00:00Z"), FIRST_EVENT_ROW + 3, "period"),
        (cell(FIRST_EVENT_ROW + 3, 4, "message.send"), FIRST_EVENT_ROW + 3, "leaf"),
        (cell(FIRST_EVENT_ROW, 1, "1"), FIRST_EVENT_ROW, "order"),
        (cell(FIRST_EVENT_ROW, 1, "00"), FIRST_EVENT_ROW, "cell"),
        (lambda rows: rows.pop(FIRST_EVENT_ROW + 3), FIRST_EVENT_ROW + 4, "order"),
        (lambda rows: rows.pop(FIRST_EVENT_ROW - 1), FIRST_EVENT_ROW, "order"),
        (lambda rows: rows.pop(-2), 11, "line"),
        (lambda rows: rows.insert(15, rows[14]), 16, "order"),
        (lambda rows: rows.insert(14, rows.pop(15)), 15, "order"),
        (lambda rows: rows[14].pop(), 15, "layout"),
        (lambda rows: rows.pop(9), 10, "line"),
        (cell(10, 5, "4"), 10, "line"),
        (cell(2, 2, "leasebox-statement/2"), 2, "cell"),
        (cell(3, 2, str(InvoiceId(int=5))), 3, "invoice"),
        (cell(4, 2, str(TenantId(int=5))), 4, "invoice"),
        (cell(5, 2, "2026-04"), 5, "invoice"),
        (cell(6, 2, "11"), 6, "head"),
        (cell(7, 2, "0.000000"), 7, "head"),
        (cell(8, 2, "0" * 64), 8, "head"),
        (cell(1, 0, "Record"), 1, "layout"),
        (forged(2, paid_quantity=1), 7, "invoice"),
        (forged(3, free_quantity=2), 8, "invoice"),
        (forged(3, occurred_at=START), 8, "invoice"),
    ],
)
def test_what_was_tampered_with_is_named_by_its_row(
    desk: Desk, change: Callable[[list[list[str]]], object], row: int, fault: str
) -> None:
    rows = [line.split(",") for line in to_csv(statement()).split("\r\n")]
    change(rows)
    desk.put("\r\n".join(",".join(each) for each in rows))
    done = desk.against_invoice("--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["sound"]) == (1, False)
    assert (found["row"], found["fault"]) == (row, fault), found
    shown = desk.against_invoice()
    assert (shown.exit_code, shown.stdout.startswith(f"NOT SOUND: row {row}: ")) == (1, True)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({"events": 9}, 6),
        ({"total_usdc": "0.000001"}, 7),
        ({"statement_hash": "ab" * 32}, 8),
        ({"period": "2026-02"}, 5),
        ({"lines": []}, 10),
    ],
)
def test_an_invoice_that_says_something_else(desk: Desk, change: dict[str, Any], row: int) -> None:
    desk.put(to_csv(statement()), invoice_of(statement()) | change)
    found = json.loads(desk.against_invoice("--json").stdout)
    assert (found["row"], found["fault"]) == (row, "invoice")


def test_an_invoice_with_another_line(desk: Desk) -> None:
    other = invoice_of(statement())
    other["lines"][1]["free_quantity"] += 1
    desk.put(to_csv(statement()), other)
    found = json.loads(desk.against_invoice("--json").stdout)
    assert (found["row"], found["fault"]) == (11, "invoice")


@pytest.mark.parametrize(
    "invoice",
    [
        "{",
        "[]",
        "{}",
        json.dumps(invoice_of(statement()) | {"events": "10"}),
        json.dumps(invoice_of(statement()) | {"invoice_id": "ten_1"}),
        json.dumps(invoice_of(statement()) | {"total_usdc": "-1"}),
        json.dumps(invoice_of(statement()) | {"statement_hash": "xyz"}),
    ],
)
def test_a_file_that_is_no_invoice(desk: Desk, invoice: str) -> None:
    desk.invoice.write_text(invoice)
    done = desk.against_invoice()
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("leasebox: ")


def test_files_that_cannot_be_read(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert desk.verify("--head", str(tmp_path / "none")).exit_code == 2
    assert desk.verify("--head", str(tmp_path / "binary")).exit_code == 2
    assert desk.verify("--head", str(desk.invoice)).exit_code == 2
    assert desk.verify("--head", str(desk.statement), "--invoice", str(desk.invoice)).exit_code == 2
    desk.statement.unlink()
    assert desk.against_invoice().exit_code == 2


@pytest.mark.parametrize("text", ["", "\r\n", "\x00", "a,b\r\n" * 1000, "record,name,value\r\n"])
def test_what_is_no_statement_is_not_sound(desk: Desk, text: str) -> None:
    desk.put(text)
    assert desk.against_invoice().exit_code == 1
    assert desk.verify().exit_code == 1


def test_line_ends_and_a_mark_that_a_spreadsheet_adds_do_not_matter(desk: Desk) -> None:
    desk.put("\ufeff" + to_csv(statement()).replace("\r\n", "\n"))
    assert desk.against_invoice().exit_code == 0


def test_nothing_was_used(desk: Desk) -> None:
    whole = statement(0)
    desk.put(to_csv(whole), invoice_of(whole))
    assert desk.against_invoice().exit_code == 0


def test_it_needs_no_server_and_not_long(desk: Desk) -> None:
    whole = statement(5_000)
    desk.put(to_csv(whole), invoice_of(whole))
    words = (sys.executable, "-m", "leasebox", "billing", "verify", str(desk.statement), "--invoice", str(desk.invoice))
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5000" in done.stdout
    assert time.monotonic() - began < 30
