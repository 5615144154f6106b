"""Machine-written mail taken apart: leaves as text, blocks of fields, typed addresses."""

import base64

import pytest

from leasebox.sending.report_parts import LEAF_OCTETS, LEAVES, canonical, groups, opened, typed_address


def test_leaves_stand_in_order_with_their_text() -> None:
    encoded = base64.b64encode(b"zwei\r\n").decode()
    mail = (
        "Content-Type: multipart/report; report-type=X; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\neins\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        f"{encoded}\r\n--b--\r\n"
    )
    found = opened(mail.encode())
    assert (found.content_type, found.report_type) == ("multipart/report", "x")
    assert [(leaf.content_type, leaf.text.strip()) for leaf in found.leaves] == [
        ("text/plain", "eins"),
        ("message/delivery-status", "zwei"),
    ]
    assert found.first("message/rfc822") == ""
    assert found.first("message/rfc822", "text/plain").strip() == "eins"


def test_leaves_are_bounded() -> None:
    parts = b"".join(b"--b\r\n\r\nx\r\n" for _ in range(400))
    found = opened(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts)
    assert len(found.leaves) == LEAVES
    (leaf,) = opened(b"\r\n" + b"x" * 300_000).leaves
    assert len(leaf.text) == LEAF_OCTETS


def test_groups_of_fields() -> None:
    text = "A: 1\nb : 2\n\n\n  \nA: 3\n  and more\nnonsense\n four\nA: 4\n"
    assert groups(text) == [{"a": ["1"], "b": ["2"]}, {"a": ["3 and more", "4"]}]


def test_groups_are_bounded() -> None:
    assert len(groups("a: 1\n\n" * 10_000)) == 200
    ((name, (value,)),) = groups("a: x\n" + " yyyy\n" * 100_000)[0].items()
    assert (name, len(value) <= 2_000) == ("a", True)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; Ann@Far.Example", "ann@far.example"),
        ("rfc822;<ann@far.example>", "ann@far.example"),
        ("RFC822 ; ann@far.example (Ann)", "ann@far.example"),
        ("ann@far.example", "ann@far.example"),
        ("utf-8; m\\x{FC}ller@far.example", "müller@far.example"),
        ("rfc822; ann+2Btag@far.example", "ann+tag@far.example"),
        ("rfc822; ann+tag@far.example", "ann+tag@far.example"),
        ("unknown; ann", None),
        ("", None),
        (";", None),
        ("rfc822; @", None),
        ("rfc822; \\x{FFFFFF}@far.example", None),
    ],
)
def test_typed_addresses(value: str, address: str | None) -> None:
    assert typed_address(value) == address


def test_one_spelling() -> None:
    assert canonical("Ann+Tag@FAR.example") == "ann+tag@far.example"
    assert canonical("nobody") is None
