"""The content of one mail: its end, its dots, its bounds."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_data import CRLF, END, Bounds, ChunkedContent, DottedContent, keep
from leasebox.mail.smtp_replies import Reply

BOUNDS = Bounds(octets=1_000, line_octets=100, hops=2)


def _stuffed(content: bytes) -> bytes:
    """What a client sends after DATA (RFC 5321 §4.5.2); `content` ends with CRLF."""
    return (CRLF + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


@given(st.lists(st.text("ab.\x00é", max_size=5)))
def test_stuffing_is_undone(lines: list[str]) -> None:
    content = "".join(f"{line}\r\n" for line in lines).encode()
    buffer = bytearray(CRLF + _stuffed(content) + b"REST")
    assert DottedContent(Bounds()).take(buffer) == content
    assert buffer == b"REST"


def test_the_end_is_found_across_any_cut() -> None:
    wire = CRLF + _stuffed(b".one\r\n..\r\n")
    for cut in range(2, len(wire)):
        dotted, buffer = DottedContent(BOUNDS), bytearray(wire[:cut])
        assert dotted.take(buffer) is None
        buffer += wire[cut:]
        assert dotted.take(buffer) == b".one\r\n..\r\n"


def test_shed_content_is_dropped_and_its_end_still_seen_across_any_cut() -> None:
    wire = CRLF + _stuffed(b"a\r\n" * 9)
    for cut in range(2, len(wire)):
        dotted, buffer = DottedContent(BOUNDS), bytearray(wire[:cut])
        dotted.shed(say.NO_MEMORY, buffer)
        assert len(buffer) <= len(END) - 1
        buffer += wire[cut:] + b"REST"
        assert dotted.take(buffer) == say.NO_MEMORY
        assert buffer == b"REST"


def test_too_much_is_dropped_as_it_comes_and_at_last_a_flood() -> None:
    dotted, buffer = DottedContent(BOUNDS), bytearray(CRLF)
    most = 0
    for _ in range(100):
        buffer += b"x" * 100
        assert dotted.take(buffer) is None
        most = max(most, len(buffer))
    assert most <= BOUNDS.stuffed_octets + 100
    assert dotted.refusal == say.TOO_BIG
    assert dotted.flooded


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b""),
        (b"x" * 100, b"x" * 100),
        (b"x" * 100 + CRLF + b"y" * 100, b"x" * 100 + CRLF + b"y" * 100),
        (b"x" * 101, say.LONG_LINE_IN_CONTENT),
        (b"a\r\n" * 33 + b"x" * 101 + CRLF, say.LONG_LINE_IN_CONTENT),
        (b"a\r\n" * 33 + b"x" * 101, say.LONG_LINE_IN_CONTENT),
        (b"x" * 98 + CRLF + b"y" * 101 + CRLF, say.LONG_LINE_IN_CONTENT),
        (b"abc\r\n" * 200, b"abc\r\n" * 200),
        (b"abc\r\n" * 200 + b"x", say.TOO_BIG),
        (b"\n", say.BARE_EOL_IN_CONTENT),
        (b"\r", say.BARE_EOL_IN_CONTENT),
        (b"\n\r", say.BARE_EOL_IN_CONTENT),
        (b"a\r\n\r", say.BARE_EOL_IN_CONTENT),
        (b"a\r\r\n\n", say.BARE_EOL_IN_CONTENT),
        (b"Received:a\r\nRECEIVED: b\r\n", b"Received:a\r\nRECEIVED: b\r\n"),
        (b"Received:a\r\nRECEIVED: b\r\nreceived:c", say.LOOP),
        (
            b"X: a\r\n Received: 1\r\n Received: 2\r\n Received: 3",
            b"X: a\r\n Received: 1\r\n Received: 2\r\n Received: 3",
        ),
        (b"\r\nReceived:a\r\n" * 5, b"\r\nReceived:a\r\n" * 5),
    ],
)
def test_keep(content: bytes, expected: bytes | Reply) -> None:
    assert keep(CRLF + content, BOUNDS) == expected


@given(st.lists(st.binary(max_size=30).filter(lambda octets: b"\r" not in octets and b"\n" not in octets), max_size=12))
def test_long_lines_are_found_exactly(lines: list[bytes]) -> None:
    content = CRLF.join(lines)
    kept = keep(CRLF + content, Bounds(line_octets=15))
    assert (kept == content) == all(len(line) <= 15 for line in lines)


def test_chunks_are_joined_and_judged_as_one() -> None:
    chunked = ChunkedContent(BOUNDS)
    for piece in (b"a\r", b"\n.", b"\r\nb"):
        chunked.add(bytearray(piece))
    assert (chunked.finish(), chunked.held_octets) == (b"a\r\n.\r\nb", 9)
    chunked.add(bytearray(b"\r"))
    assert chunked.finish() == say.BARE_EOL_IN_CONTENT


def test_chunks_too_many_keep_nothing() -> None:
    chunked = ChunkedContent(BOUNDS)
    chunked.add(bytearray(999))
    chunked.add(bytearray(1))
    assert (chunked.refusal, chunked.held_octets) == (None, 1_002)
    chunked.add(bytearray(1))
    assert (chunked.refusal, chunked.held_octets, chunked.finish()) == (say.TOO_BIG, 2, say.TOO_BIG)


def test_the_greatest_mail_is_judged_at_once() -> None:
    content = (b"x" * 74 + CRLF) * (Bounds().octets // 76)
    start = time.process_time()
    assert keep(CRLF + content, Bounds()) == content
    assert time.process_time() - start < 0.5
