"""Address fields as people and programs write them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leasebox.mail.address_list import Address, domain_of, read_addresses
from leasebox.mail.mime_bounds import ADDRESSES, Defects


def read(value: bytes, hint: str = "") -> list[tuple[str, str]]:
    return [(one.name, one.address) for one in read_addresses(value, hint, Defects())]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"joe@example.com", [("", "joe@example.com")]),
        (b"Joe Blow <joe@Example.COM>", [("Joe Blow", "joe@example.com")]),
        (b'"Blow, Joe" <joe@example.com>', [("Blow, Joe", "joe@example.com")]),
        (b'"Joe \\"J\\" Blow" <joe@example.com>', [('Joe "J" Blow', "joe@example.com")]),
        (b"joe@example.com (Joe Blow)", [("Joe Blow", "joe@example.com")]),
        (b"joe@example.com (Joe (the (real)) Blow)", [("Joe (the (real)) Blow", "joe@example.com")]),
        (
            b"a@x.example, B <b@x.example>,, c@x.example;",
            [("", "a@x.example"), ("B", "b@x.example"), ("", "c@x.example")],
        ),
        (b"Team: a@x.example, b@x.example;, c@x.example", [("", f"{one}@x.example") for one in "abc"]),
        (b"undisclosed-recipients:;", []),
        (b"<@relay.example,@b.example:joe@example.com>", [("", "joe@example.com")]),
        (b"Joe <mailto:joe@example.com>", [("Joe", "joe@example.com")]),
        (b"joe . blow @ example.com", [("", "joe.blow@example.com")]),
        (b'"joe blow"@example.com', [("", '"joe blow"@example.com')]),
        (b'"joe@example.com"', [("", "joe@example.com")]),
        (b"joe@[192.0.2.1]", [("", "joe@[192.0.2.1]")]),
        (b'"support@bank.example" <evil@x.example>', [("support@bank.example", "evil@x.example")]),
        (b"support@bank.example <evil@x.example>", [("support@bank.example", "evil@x.example")]),
        (b"=?utf-8?q?Doe=2C_J=C3=B6rg?= <j@x.example>", [("Doe, Jörg", "j@x.example")]),
        ("Jörg <jörg@münchen.example>".encode(), [("Jörg", "jörg@münchen.example")]),
        (b"Recipient-List", [("Recipient-List", "")]),
        (b"Joe <joe>", [("Joe", "")]),
        (b"'joe@example.com' <joe@example.com>", [("joe@example.com", "joe@example.com")]),
        (b'Joe "the <joe@example.com>', [("Joe the", "joe@example.com")]),
        (b"Joe (the <joe@example.com>", [("Joe the", "joe@example.com")]),
        (b"<joe@example.com", [("", "joe@example.com")]),
        (b"a@b@c.example", [("", "a@b@c.example")]),
        (b"", []),
        (b',;<>,""', []),
    ],
)
def test_lists(value: bytes, found: list[tuple[str, str]]) -> None:
    assert read(value) == found


def test_the_hint_reads_raw_names() -> None:
    assert read("Иван <i@x.example>".encode("cp1251"), "windows-1251") == [("Иван", "i@x.example")]


def test_lists_are_capped() -> None:
    defects = Defects()
    found = read_addresses(b", ".join([b"a@b.example"] * (ADDRESSES + 9)), "", defects)
    assert (len(found), defects.words()) == (ADDRESSES, ("addresses_over",))


def test_addresses_too_long_for_smtp_are_none() -> None:
    assert read(b"Joe <" + b"a" * 400 + b"@x.example>") == [("Joe", "")]


@pytest.mark.parametrize(
    ("address", "domain"), [("a@b.example", "b.example"), ("a@b@c.example", "c.example"), ("x", ""), ("", "")]
)
def test_domains(address: str, domain: str) -> None:
    assert domain_of(address) == domain


@given(st.text(alphabet='ab@.<>"(),;:\\ é\t', max_size=60))
@example("<@@;")
def test_any_value_is_read(value: str) -> None:
    for one in read_addresses(value.encode(), "", Defects()):
        assert isinstance(one, Address)
        assert not one.address or (one.address.isprintable() and "@" in one.address.strip("@"))
        assert one.name or one.address or value.strip()
