"""What leaves the house as text."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.admin.export import csv_header, csv_line, json_line, safe_cell


class Line(msgspec.Struct):
    name: str
    at: datetime | None
    detail: dict[str, Any]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a=b", "a=b"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ('"=1', '"=1'),
        ("'=1", "'=1"),
    ],
)
def test_cells(text: str, cell: str) -> None:
    assert safe_cell(text) == cell


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_any_row_is_read_back_and_no_cell_reckons(name: str, detail: dict[str, str]) -> None:
    text = csv_line(Line(name, None, detail)).decode("utf-8", "surrogatepass")
    (cells,) = csv.reader(io.StringIO(text, newline=""))
    assert len(cells) == 3
    assert cells[0].removeprefix("'") == name.removeprefix("'")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)


def test_lines() -> None:
    row = Line("a,b", datetime(2026, 11, 20, 10, 2, tzinfo=UTC), {"x": 1})
    assert json_line(row) == b'{"name":"a,b","at":"2026-11-20T10:02:00Z","detail":{"x":1}}\n'
    assert csv_header(Line) == b"name,at,detail\r\n"
    assert csv_line(row) == b'"a,b",2026-11-20T10:02:00Z,"{""x"":1}"\r\n'
    assert csv_line(Line("", None, {})) == b",,{}\r\n"
