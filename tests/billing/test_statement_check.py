"""A downloaded statement: sound as it left us, and otherwise wrong in the very row that was touched."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leasebox.billing.statement import InvoiceHead, InvoiceId, Statement, UsageEvent, draw_up, to_csv
from leasebox.billing.statement_check import StatementFault, Unsound, read_head, verify_statement
from leasebox.values.ids import EventId, TenantId
from leasebox.values.money import MOST_MICROS, Usdc
from tests.billing.test_statement import STRANGER, TENANT, event, statement

F = StatementFault
WHOLE = statement(30)
CSV = to_csv(WHOLE)
ROWS = CSV.split("\r\n")[:-1]
FIRST_LINE, EVENT_HEADER = 10, 10 + len(WHOLE.lines)
INVOICE_HASH_ROW = 8


def _check(rows: list[str], invoice: InvoiceHead = WHOLE.head) -> tuple[int, StatementFault] | None:
    found = verify_statement("\r\n".join([*rows, ""]), invoice)
    return (found.row, found.fault) if isinstance(found, Unsound) else None


def _with_cell(row: int, column: int, value: str) -> list[str]:
    cells = ROWS[row - 1].split(",")
    assert cells[column] != value
    cells[column] = value
    return [*ROWS[: row - 1], ",".join(cells), *ROWS[row:]]


@given(st.integers(0, 40), st.integers(0, 50))
@settings(max_examples=60)
def test_what_left_us_is_sound(count: int, seed: int) -> None:
    made = statement(count, seed)
    assert verify_statement(to_csv(made), made.head) == made
    assert read_head(to_csv(made)) == made.head


@pytest.mark.parametrize(
    "travel",
    [
        lambda text: text.replace("\r\n", "\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.removesuffix("\r\n"),
        lambda text: text.replace("\r\n", "\n").removesuffix("\n"),
    ],
    ids=["LF", "byte order mark", "last line end lost", "LF and lost"],
)
def test_line_ends_may_change_on_the_way(travel: Callable[[str], str]) -> None:
    assert verify_statement(travel(CSV), WHOLE.head) == WHOLE


EVENT_ROW = EVENT_HEADER + 1 + next(seq for seq, each in enumerate(WHOLE.events) if each.paid_quantity == 3)


@pytest.mark.parametrize(
    ("row", "column", "value", "fault"),
    [
        (1, 1, "nom", F.LAYOUT),
        (2, 2, "leasebox-statement/2", F.CELL),
        (2, 1, "version", F.LAYOUT),
        (3, 2, str(InvoiceId(int=9)), F.INVOICE),
        (3, 2, str(TENANT), F.CELL),
        (4, 2, str(STRANGER), F.INVOICE),
        (5, 2, "2026-12", F.INVOICE),
        (5, 2, "2026-13", F.CELL),
        (6, 2, "29", F.HEAD),
        (6, 2, "030", F.CELL),
        (6, 2, "9" * 19, F.CELL),
        (6, 2, "9" * 5_000, F.CELL),
        (7, 2, "0.000001", F.HEAD),
        (7, 2, "0.1", F.CELL),
        (7, 2, "-0.100000", F.CELL),
        (7, 2, "9999999999999.000000", F.CELL),
        (8, 2, "0" * 64, F.HEAD),
        (8, 2, "0" * 63, F.CELL),
        (8, 2, "A" * 64, F.CELL),
        (9, 1, "metre", F.LAYOUT),
        (FIRST_LINE, 0, "lines", F.LAYOUT),
        (FIRST_LINE, 1, "mailbox.leasf", F.LINE),
        (FIRST_LINE, 2, "7", F.LINE),
        (FIRST_LINE, 3, "0.000001", F.LINE),
        (FIRST_LINE + 1, 4, "99", F.LINE),
        (FIRST_LINE + 1, 5, "99", F.LINE),
        (FIRST_LINE + 1, 6, "99.000000", F.LINE),
        (FIRST_LINE + 1, 6, "99", F.CELL),
        (EVENT_HEADER, 3, "when", F.LAYOUT),
        (EVENT_ROW, 0, "Event", F.LAYOUT),
        (EVENT_ROW, 1, "0", F.ORDER),
        (EVENT_ROW, 1, "-1", F.CELL),
        (EVENT_ROW, 2, str(EventId(int=1)), F.ORDER),
        (EVENT_ROW, 2, str(TenantId(int=1)), F.CELL),
        (EVENT_ROW, 2, "evt_", F.CELL),
        (EVENT_ROW, 3, "2026-12-01T00:00:00Z", F.PERIOD),
        (EVENT_ROW, 3, "2026-11-02T03:04:05.000006Z", F.LEAF),
        (EVENT_ROW, 3, "2026-11-02T03:04:05.000000Z", F.CELL),
        (EVENT_ROW, 3, "2026-11-31T00:00:00Z", F.CELL),
        (EVENT_ROW, 3, "2026-11-02T03:04:05+00:00", F.CELL),
        (EVENT_ROW, 4, "webhook.create", F.LEAF),
        (EVENT_ROW, 4, "Webhook", F.CELL),
        (EVENT_ROW, 5, "9", F.LEAF),
        (EVENT_ROW, 6, "0.000001", F.AMOUNT),
        (EVENT_ROW, 7, "0", F.LEAF),
        (EVENT_ROW, 8, "4", F.AMOUNT),
        (EVENT_ROW, 8, "3.0", F.CELL),
        (EVENT_ROW, 9, "0.000001", F.AMOUNT),
        (EVENT_ROW, 10, "", F.LEAF),
        (EVENT_ROW, 10, "prf_x", F.CELL),
        (EVENT_ROW, 11, "0" * 64, F.LEAF),
        (EVENT_ROW, 11, "", F.CELL),
        (EVENT_ROW, 11, '"' + "0" * 64 + '"', F.CELL),
        (EVENT_ROW, 11, "0" * 64 + ",", F.LAYOUT),
    ],
)
def test_an_edited_cell_is_found_in_its_row(row: int, column: int, value: str, fault: StatementFault) -> None:
    assert _check(_with_cell(row, column, value)) == (row, fault)


@given(st.integers(1, len(ROWS)), st.integers(0, 11), st.text(max_size=70))
@settings(max_examples=400)
def test_any_edited_cell_is_found_in_its_row(row: int, column: int, value: str) -> None:
    cells = ROWS[row - 1].split(",")
    column %= len(cells)
    assume(cells[column] != value and not set(value) & {"\n"} and cells[column] + "\r" != value)
    found = _check(_with_cell(row, column, value))
    assert found is not None
    assert found[0] == row


@pytest.mark.parametrize("row", range(1, len(ROWS)))
def test_a_deleted_row_leaves_a_gap_at_its_place(row: int) -> None:
    found = _check([*ROWS[: row - 1], *ROWS[row:]])
    assert found is not None
    if not FIRST_LINE <= row < EVENT_HEADER:
        assert found == (row, F.ORDER if row > EVENT_HEADER else F.LAYOUT)
    else:
        assert found == (row, F.LINE)


def test_a_truncated_statement_is_missed_in_the_sums() -> None:
    last = WHOLE.events[-1]
    keys = [(each.meter, each.price_version) for each in WHOLE.lines]
    line = keys.index((last.meter, last.price_version))
    assert _check(ROWS[:-1]) == (FIRST_LINE + line, F.LINE)
    assert _check(ROWS[:EVENT_HEADER]) == (FIRST_LINE, F.LINE)
    assert _check(ROWS[: EVENT_HEADER - 1]) == (EVENT_HEADER, F.LAYOUT)
    assert _check(ROWS[:5]) == (6, F.LAYOUT)
    assert _check([]) == (1, F.LAYOUT)


@pytest.mark.parametrize("row", range(EVENT_HEADER + 1, len(ROWS)))
def test_swapped_and_doubled_rows_are_found(row: int) -> None:
    swapped = [*ROWS[: row - 1], ROWS[row], ROWS[row - 1], *ROWS[row + 1 :]]
    doubled = [*ROWS[:row], *ROWS[row - 1 :]]
    assert _check(swapped) == (row, F.ORDER)
    assert _check(doubled) == (row + 1, F.ORDER)


def test_an_event_is_not_charged_twice_under_two_numbers() -> None:
    doubled = replace(WHOLE, events=(*WHOLE.events[:5], *WHOLE.events[4:]))
    assert _check(to_csv(doubled).split("\r\n")[:-1]) == (EVENT_HEADER + 6, F.ORDER)


def _forged(change: Callable[[UsageEvent], UsageEvent]) -> Statement:
    """A wholly consistent statement over changed events: leaf hashes, lines, total and root are all mended."""
    events = [change(each) if seq == 3 else each for seq, each in enumerate(WHOLE.events)]
    return draw_up(WHOLE.head.invoice_id, TENANT, WHOLE.head.period, events)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (lambda each: replace(each, paid_quantity=each.paid_quantity + 1), 7),
        (lambda each: replace(each, free_quantity=each.free_quantity + 1), INVOICE_HASH_ROW),
        (lambda each: replace(each, occurred_at=each.occurred_at.replace(second=7)), INVOICE_HASH_ROW),
    ],
)
def test_a_consistent_rewrite_is_caught_by_the_invoice(change: Callable[[UsageEvent], UsageEvent], row: int) -> None:
    forged = _forged(change)
    assert verify_statement(to_csv(forged), forged.head) == forged
    assert _check(to_csv(forged).split("\r\n")[:-1]) == (row, F.INVOICE)


@pytest.mark.parametrize(("count", "row"), [(29, 6), (31, 6)])
def test_an_event_left_out_or_slipped_in_is_caught_by_the_invoice(count: int, row: int) -> None:
    assert _check(to_csv(statement(count)).split("\r\n")[:-1]) == (row, F.INVOICE)


def test_one_version_has_one_price() -> None:
    at = next(seq for seq, each in enumerate(WHOLE.events) if seq and each.meter == WHOLE.events[0].meter)
    first = WHOLE.events[0]
    bent = replace(WHOLE.events[at], price_version=first.price_version, unit_price=Usdc(first.unit_price.micros + 1))
    lied = replace(WHOLE, events=(*WHOLE.events[:at], bent, *WHOLE.events[at + 1 :]))
    assert _check(to_csv(lied).split("\r\n")[:-1]) == (EVENT_HEADER + 1 + at, F.PRICE)


def test_sums_beyond_the_ledger_are_no_crash() -> None:
    events = tuple(replace(each, unit_price=Usdc(MOST_MICROS), paid_quantity=1) for each in (event(0), event(1)))
    one = draw_up(WHOLE.head.invoice_id, TENANT, "2026-11", events[:1])
    two = replace(one, events=events)
    assert _check(to_csv(two).split("\r\n")[:-1], one.head) == (FIRST_LINE - 1, F.LINE)


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert isinstance(verify_statement(text, WHOLE.head), Unsound)
    assert isinstance(read_head(text), Unsound)
    assert isinstance(verify_statement("\n".join([*ROWS[:8], text]), WHOLE.head), Unsound)
