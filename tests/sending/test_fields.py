"""Header fields: what goes in comes out again of our own reader and of the standard library's, as one field."""

import email
import email.header
import email.policy
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail.headers import decode_field, scan
from leasebox.mail.mime_bounds import Defects
from leasebox.mail.parameters import read_parameters
from leasebox.sending import fields
from leasebox.sending.addressees import read_addressee

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Zl", "Zp", "Zs")) | st.just(" "), max_size=300)


def read(field: bytes) -> tuple[str, bytes]:
    """The one field that our reader finds in these octets."""
    found, _ = scan(field + b"\r\n", 0, len(field) + 2, 1 << 20, Defects())
    (only,) = found.items
    return only


def lines_fit(field: bytes) -> bool:
    assert field.endswith(b"\r\n")
    return all(len(line) <= 998 for line in field.split(b"\r\n"))


@given(PRINTABLE)
def test_any_text_comes_back(text: str) -> None:
    wanted = text.strip()
    field = fields.text("Subject", wanted)
    assert field.isascii() and lines_fit(field)
    assert decode_field(read(field)[1]).split() == wanted.split()
    message = email.message_from_bytes(field + b"\r\n", policy=email.policy.default)
    assert str(message["subject"]).split() == wanted.split()


@pytest.mark.parametrize(
    "text", ["plain", "two  blanks", "=?utf-8?B?ZXZpbA==?=", "a" * 900, "a" * 901, "é" * 500, "x " * 400]
)
def test_it_comes_back_to_the_letter(text: str) -> None:
    assert decode_field(read(fields.text("Subject", text))[1]) == text.strip()


def test_an_encoded_line_keeps_to_76_octets() -> None:
    field = fields.text("Subject", "Grüße aus Köln " * 30)
    assert max(map(len, field.split(b"\r\n"))) <= 76
    assert all(line.lstrip().startswith((b"=?", b"Subject: =?")) for line in field.split(b"\r\n")[:-1])


def test_an_ascii_line_is_folded_at_blanks() -> None:
    field = fields.text("Subject", "word " * 60)
    assert max(map(len, field.split(b"\r\n"))) <= 76
    assert field.replace(b"\r\n", b"").startswith(b"Subject: word word")


@pytest.mark.parametrize(
    "text",
    [
        "Ann <a@b.example>",
        '"Lee, Ann" <a@b.example>',
        "Žofie <z@b.example>",
        '"a b"@c.example',
        '"=?x?=" <a@b.example>',
        "a@b.example",
    ],
)
def test_an_address_comes_back(text: str) -> None:
    wanted = read_addressee(text)
    message = email.message_from_bytes(fields.addresses("To", [wanted]) + b"\r\n", policy=email.policy.default)
    (found,) = message["to"].addresses
    assert found.display_name == wanted.name
    assert f"{found.addr_spec}" == wanted.address


def test_a_hundred_addresses_are_folded_between_them() -> None:
    people = [read_addressee(f"Person {number} Ünï <p{number}@a-rather-long-domain.example>") for number in range(100)]
    field = fields.addresses("To", people)
    assert lines_fit(field)
    message = email.message_from_bytes(field + b"\r\n", policy=email.policy.default)
    assert [each.addr_spec for each in message["to"].addresses] == [each.address for each in people]
    assert [each.display_name for each in message["to"].addresses] == [each.name for each in people]


@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=60))
def test_any_file_name_comes_back(name: str) -> None:
    field = fields.parameters("Content-Disposition", "attachment", [("filename", name)])
    assert field.isascii() and max(map(len, field.split(b"\r\n"))) <= 90
    value, found = read_parameters(read(field)[1], "", Defects())
    assert (value, found["filename"]) == ("attachment", name) or name != name.strip()


def test_a_date_is_told_in_utc() -> None:
    at = datetime(2026, 11, 20, 12, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    assert fields.date("Date", at) == b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n"


@pytest.mark.parametrize("value", ["a\r\nBcc: x@y.example", "a\nb", "a\rb", "a\x00b", "a\x85b", "a\u2028b"], ids=ascii)
def test_what_would_be_two_fields_is_a_mistake_of_ours(value: str) -> None:
    with pytest.raises(fields.UnsoundField):
        fields.tokens("X-Test", [value])
    with pytest.raises(fields.UnsoundField):
        fields.parameters("Content-Type", value, [])


@pytest.mark.parametrize("value", ["a\r\nBcc: x@y.example", "a\nb", "a\rb", "a\x00b"], ids=ascii)
def test_nor_does_a_text_become_two(value: str) -> None:
    try:
        field = fields.text("X-Test", value)
    except fields.UnsoundField:
        return
    assert len(email.message_from_bytes(field + b"\r\n").items()) == 1
