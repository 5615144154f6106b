"""Parts and where they stand, against the standard library where that is right."""

import email
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail.mime_bounds import DEPTH, PARTS, Defects
from leasebox.mail.mime_tree import Part, read_tree

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "eml"
# Doubled, undeclared, unclosed or oddly typed boundaries, on which we part company with the library; and one attached
# mail that it writes anew instead of showing.
DIFFERENT = {f"malformed/{number:03}.eml" for number in (0, 13, 14, 17, 19, 20, 21)} | {"rfc/002.eml"}


def leaves(part: Part) -> list[Part]:
    return [leaf for child in part.children for leaf in leaves(child)] if part.children else [part]


def shape(raw: bytes) -> list[tuple[str, str, bytes]]:
    return [(leaf.path, leaf.content_type, raw[leaf.start : leaf.end]) for leaf in leaves(read_tree(raw, Defects()))]


def multipart(boundary: str, *parts: str) -> bytes:
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n{body}--{boundary}--\r\n".encode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", [("1", "text/plain", b"")]),
        (b"A: b\n\nbody", [("1", "text/plain", b"body")]),
        (
            multipart("x", "\r\none", "Content-Type: a/b\r\n\r\ntwo"),
            [("1", "text/plain", b"one"), ("2", "a/b", b"two")],
        ),
        (multipart("x", "\r\n--xy\r\nno"), [("1", "text/plain", b"--xy\r\nno")]),
        (multipart("x", "\r\none").replace(b"--x--\r\n", b""), [("1", "text/plain", b"one\r\n")]),
        (
            multipart("x", multipart("y", "\r\n1", "\r\n2").decode(), "\r\n3"),
            [("1.1", "text/plain", b"1"), ("1.2", "text/plain", b"2"), ("2", "text/plain", b"3")],
        ),
        (b"Content-Type: multipart/mixed; boundary=x\n\nnever", [("1", "text/plain", b"never")]),
        (b"Content-Type: multipart/digest; boundary=x\n\n--x\n\nS: i\n--x--", [("1", "message/rfc822", b"S: i")]),
        (b"Content-Type: multipart/mixed\n\n--guess\n\none\n--guess--", [("1", "text/plain", b"one")]),
        (b"Content-Type: text\n\nbody", [("1", "text/plain", b"body")]),
        (b"Content-Type: ;;\n\nbody", [("1", "text/plain", b"body")]),
    ],
)
def test_shapes(raw: bytes, expected: list[tuple[str, str, bytes]]) -> None:
    assert shape(raw) == expected


def test_depth_is_bounded() -> None:
    raw = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(DEPTH + 5))
    defects = Defects()
    only = leaves(read_tree(raw, defects))
    assert [leaf.path.count(".") for leaf in only] == [DEPTH - 1]
    assert "too_deep" in defects.words()


def test_parts_are_bounded() -> None:
    defects = Defects()
    found = leaves(read_tree(multipart("x", *["\r\none"] * (PARTS + 9)), defects))
    assert (len(found), defects.words()) == (PARTS, ("too_many_parts",))


def test_lines_like_delimiters_are_bounded() -> None:
    defects = Defects()
    root = read_tree(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--xy\r\n" * 20_000 + b"--x\r\n", defects)
    assert not root.children
    assert "too_many_delimiters" in defects.words()


def test_the_library_finds_the_same_leaves_in_the_vectors() -> None:
    if not VECTORS.is_dir():
        pytest.skip("the shared mail vectors are absent")
    compared = 0
    for path in sorted(VECTORS.rglob("*.eml")):
        if f"{path.parent.name}/{path.name}" in DIFFERENT:
            continue
        compared += 1
        raw = path.read_bytes()
        theirs = [(kind(part), text(part)) for part in flat(email.message_from_bytes(raw))]
        ours = [(found, content.strip()) for _, found, content in shape(raw)]
        assert ours == theirs, path.name
    assert compared > 75


def flat(message: Message) -> list[Message]:
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        return [leaf for part in message.get_payload() for leaf in flat(part)]  # type: ignore[arg-type]
    return [message]


def kind(part: Message) -> str:
    """A multipart that never was one is text to us."""
    return "text/plain" if part.get_content_maintype() == "multipart" else part.get_content_type()


def text(part: Message) -> bytes:
    del part["Content-Transfer-Encoding"]  # else the library decodes
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes):
        return payload.strip()
    inner = part.get_payload(0)  # an attached mail, which the library opens
    return inner.as_bytes().strip() if isinstance(inner, Message) else b""


@given(
    st.lists(
        st.sampled_from([b"--x\n", b"--x--\n", b"\n", b"text\n", b"Content-Type: multipart/mixed; boundary=x\n"]),
        max_size=20,
    )
)
def test_spans_stay_within_their_parents(lines: list[bytes]) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=x\n\n" + b"".join(lines)
    waiting = [read_tree(raw, Defects())]
    while waiting:
        part = waiting.pop()
        assert 0 <= part.start <= part.end <= len(raw)
        assert all(part.start <= child.start and child.end <= part.end for child in part.children)
        waiting += part.children
