"""Transfer encodings, kept and broken, and flowed text."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail.bodies import decode_body, unwrap_flowed
from leasebox.mail.mime_bounds import BASE64_RESTARTS, Defects

UU = b"begin 644 cat.txt\n#0V%T\n`\nend\n"


@pytest.mark.parametrize(
    ("body", "encoding", "kind", "octets", "defects"),
    [
        (b"plain", b"", "text/plain", b"plain", ()),
        (b"plain", b"7bit", "text/plain", b"plain", ()),
        (b"plain", b"x-nonsense", "text/plain", b"plain", ()),
        (b"aGVsbG8=", b"BASE64", "text/plain", b"hello", ()),
        (b"aGVs\r\nbG8=\r\n", b" base64 ", "a/b", b"hello", ()),
        (b"aGVsbG8", b"base64", "a/b", b"hello", ("base64_bad",)),
        (b"aGVs!bG8=", b"base64", "a/b", b"hello", ()),
        (b"aGVsbG8=\r\nIQ==\r\n", b"base64", "a/b", b"hello!", ()),
        (b"aGVsbG8=\r\n\r\n-- \r\nlist footer here\r\n", b"base64", "text/plain", b"hello", ("base64_trailed",)),
        (b"Your code is 1234", b"base64", "text/plain", b"Your code is 1234", ("base64_missing",)),
        (b"\r\n", b"base64", "text/plain", b"", ()),
        (b"=41=0D=0A=\r\nB", b"quoted-printable", "text/plain", b"A\r\nB", ()),
        (b"A=  \r\nB=ZZ=", b"Quoted-Printable", "text/plain", b"AB=ZZ", ()),
        (UU, b"x-uuencode", "a/b", b"Cat", ()),
        (UU.replace(b"\n", b"\r\n"), b"uuencode", "a/b", b"Cat", ()),
        (b"\n\nnothing", b"x-uuencode", "a/b", b"\n\nnothing", ("uuencode_bad",)),
        (b"begin 644 x\n#0V%T trailing noise\nend", b"x-uuencode", "a/b", b"Cat", ("uuencode_bad",)),
    ],
)
def test_encodings(body: bytes, encoding: bytes, kind: str, octets: bytes, defects: tuple[str, ...]) -> None:
    found = Defects()
    assert decode_body(body, encoding, kind, found) == octets
    assert found.words() == defects


def test_glued_base64_is_bounded() -> None:
    defects = Defects()
    assert decode_body(b"QQ==" * 100_000, b"base64", "a/b", defects) == b"A" * (BASE64_RESTARTS // 2)
    assert defects.words() == ("base64_bad",)


@given(st.binary(max_size=300))
def test_base64_comes_back(octets: bytes) -> None:
    assert decode_body(base64.encodebytes(octets), b"base64", "a/b", Defects()) == octets


@given(
    st.binary(max_size=200),
    st.sampled_from([b"base64", b"quoted-printable", b"x-uuencode"]),
    st.sampled_from(["text/plain", "a/b"]),
)
def test_any_body_is_decoded(body: bytes, encoding: bytes, kind: str) -> None:
    assert isinstance(decode_body(b"begin 644 x\n" + body, encoding, kind, Defects()), bytes)


@pytest.mark.parametrize(
    ("text", "delsp", "unwrapped"),
    [
        ("one \ntwo\nthree", "", "one two\nthree"),
        ("one \ntwo", "Yes", "onetwo"),
        (" From me\n", "", "From me\n"),
        ("> one \n> two\n>> deep \n> up", "", "> one two\n>> deep \n> up"),
        ("text \n-- \nsignature", "", "text \n-- \nsignature"),
        ("", "", ""),
    ],
)
def test_flowed_text_is_unwrapped(text: str, delsp: str, unwrapped: str) -> None:
    assert unwrap_flowed(text, delsp) == unwrapped
