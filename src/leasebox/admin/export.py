"""Audit rows as text that leaves the house: JSON lines and CSV. Pure.

A spreadsheet takes a cell that begins with = + - @ (or a tab or carriage return, which it drops) for a formula, and an
attacker may choose what stands in a cell; such a cell begins with an apostrophe here, as OWASP advises.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

import msgspec

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def json_line(row: msgspec.Struct) -> bytes:
    """One row as a line of JSON (RFC 8259), ended by a line feed."""
    return msgspec.json.encode(row) + b"\n"


def csv_header(kind: type[msgspec.Struct]) -> bytes:
    """The names of a row's fields as the first line of a CSV (RFC 4180)."""
    return _line(kind.__struct_fields__)


def csv_line(row: msgspec.Struct) -> bytes:
    """One row as a line of CSV (RFC 4180), each cell harmless in a spreadsheet."""
    return _line([safe_cell(_text(value)) for value in msgspec.structs.astuple(row)])


def safe_cell(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would reckon with it."""
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    encoded: str = msgspec.json.encode(value).decode()
    return encoded.strip('"') if encoded.startswith('"') else encoded


def _line(cells: Sequence[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().encode()
