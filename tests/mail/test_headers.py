"""Header blocks and the values in them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail import headers
from leasebox.mail.headers import decode_field, read_date, read_message_id, read_message_ids
from leasebox.mail.mime_bounds import HEADERS, REFERENCES, Defects


def scan(raw: bytes, room: int = 100_000) -> tuple[list[tuple[str, bytes]], bytes, tuple[str, ...]]:
    defects = Defects()
    fields, body = headers.scan(raw, 0, len(raw), room, defects)
    return fields.items, raw[body:], defects.words()


@pytest.mark.parametrize(
    ("raw", "items", "body", "defects"),
    [
        (b"", [], b"", ()),
        (b"\r\nbody", [], b"body", ()),
        (b"A: b\r\n\r\nbody", [("A", b"b")], b"body", ()),
        (b"A: b\n\nbody", [("A", b"b")], b"body", ()),
        (b"A: b\r\n c\r\n\td\r\nE:f", [("A", b"b c\td"), ("E", b"f")], b"", ()),
        (b"A : b\n\n", [("A", b"b")], b"", ()),
        (b"From x@y Thu\nA: b\n\nbody", [("A", b"b")], b"body", ()),
        (b"A: b\nno field\n\nbody", [("A", b"b")], b"no field\n\nbody", ("header_end_missing",)),
        (b" led by blanks\n\nbody", [], b" led by blanks\n\nbody", ("header_end_missing",)),
        (b"A: b\r\n \r\nC: d\r\n\r\nbody", [("A", b"b"), ("C", b"d")], b"body", ()),
    ],
)
def test_blocks(raw: bytes, items: list[tuple[str, bytes]], body: bytes, defects: tuple[str, ...]) -> None:
    assert scan(raw) == (items, body, defects)


def test_a_block_over_its_room_is_cut_but_its_end_is_found() -> None:
    items, body, defects = scan(b"A: b\r\nBig: " + b"x" * 500 + b"\r\nC: d\r\n\r\nbody", room=100)
    assert [name for name, _ in items] == ["A", "Big"]
    assert (body, defects) == (b"body", ("header_bytes_over",))


def test_fields_over_their_count_are_not_read() -> None:
    items, body, defects = scan(b"A: b\r\n" * (HEADERS + 5) + b"\r\nbody")
    assert (len(items), body, defects) == (HEADERS, b"body", ("headers_over",))


@pytest.mark.parametrize(
    ("value", "hint", "text"),
    [
        (b"plain", "", "plain"),
        (b"=?utf-8?q?a_b=3D?=", "", "a b="),
        (b"=?utf-8?q?a?= =?utf-8?q?b?= c =?utf-8?q?d?=", "", "ab c d"),
        (b"=?utf-8?B?w6k=?=\t=?utf-8?B?w6k=?=", "", "éé"),
        (b"=?utf-8?B?w6?= =?utf-8?B?k?=", "", "é"),
        (b"=?utf-8?B?w6k?=", "", "é"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "", "é"),
        (b"=?iso-8859-1?q?=E9?= =?utf-8?q?=C3=A9?=", "", "éé"),
        (b"=?utf-8*en?q?hi?=", "", "hi"),
        (b"=?utf-8?q?who?_what?=", "", "who? what"),
        (b"=?utf-8?x?what?=", "", "=?utf-8?x?what?="),
        (b"=?broken", "", "=?broken"),
        (b"\xcf\xf0\xe8\xe2\xe5\xf2", "windows-1251", "Привет"),
        (b"a\r\n\tb\x00\x07c", "", "a b c"),
        (b"=?utf-8?q?a=0D=0ABcc:_x?=", "", "a Bcc: x"),
        ("一\u2028二".encode(), "", "一 二"),
    ],
)
def test_values_are_decoded(value: bytes, hint: str, text: str) -> None:
    assert decode_field(value, hint) == text


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (b"Fri, 20 Nov 2026 11:02:24 +0100 (CET)", datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)),
        (b"20 Nov 2026 10:02 -0000", datetime(2026, 11, 20, 10, 2, tzinfo=UTC)),
        (b"Fri, 20 Nov 26 10:02:24 EST", datetime(2026, 11, 20, 15, 2, 24, tzinfo=UTC)),
        (b"Whenever", None),
        (b"Fri, 20 Nov 2026 10:02:24 +9999", None),
        (b"Fri, 31 Dec 9999 23:59:59 -2300", None),
        (b"1 " * 1000, None),
        (b"\xff\xfe", None),
    ],
)
def test_dates(value: bytes, moment: datetime | None) -> None:
    assert read_date(value) == moment


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"<a@b>", "<a@b>"),
        (b"re: <a@b> (comment) <c@d>", "<a@b>"),
        (b"a@b", "<a@b>"),
        (b"", None),
        (b"two words", None),
    ],
)
def test_one_message_id(value: bytes, found: str | None) -> None:
    assert read_message_id(value) == found


def test_long_chains_keep_their_ends() -> None:
    found = read_message_ids(b" ".join(b"<%d@b>" % number for number in range(300)))
    assert len(found) == REFERENCES
    assert (found[0], found[-1]) == ("<0@b>", "<299@b>")


@given(st.binary(max_size=300))
def test_any_value_is_one_line_that_can_be_stored(value: bytes) -> None:
    text = decode_field(value)
    assert text.encode().decode() == text
    assert not set("\r\n\0") & set(text)
    assert all(one.startswith("<") for one in read_message_ids(value))
