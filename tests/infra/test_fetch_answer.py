"""Heads and ends of HTTP answers: what is read, what is refused, and where no two readers could differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.infra.fetch_answer import BODY_BYTES, HEAD_BYTES, Head, Malformed, body_is_whole, read_head

OK = b"HTTP/1.1 200 OK\r\n"


def head(raw: bytes) -> Head:
    found = read_head(raw)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (OK + b"\r\n", 200),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", 404),
        (b"HTTP/1.1 204\r\n\r\n", 204),
        (b"HTTP/1.1 299 \xff\xfe\r\n\r\n", 299),
        (b"HTTP/1.1 503 x\nRetry-After: 5\n\n", 503),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200),
    ],
)
def test_the_final_status_is_read(raw: bytes, status: int) -> None:
    found = head(raw)
    assert (found.status, found.size) == (status, len(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"H", OK, OK + b"A: b\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\nHTTP",
    ],
)  # fmt: skip
def test_half_a_head_waits_for_more(raw: bytes) -> None:
    assert read_head(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"220 mail ESMTP\r\n\r\n", b"-ERR unknown\r\n\r\n", b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 600 x\r\n\r\n", b"HTTP/1.1 000 x\r\n\r\n",
        b" HTTP/1.1 200 OK\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n",
        OK + b"A: " + b"x" * HEAD_BYTES, OK + b"A: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_answer_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_head(raw)


@pytest.mark.parametrize(
    ("fields", "rest", "whole"),
    [
        (b"Content-Length: 0\r\n", b"", True),
        (b"Content-Length: 2\r\n", b"", None),
        (b"Content-Length: 2\r\n", b"o", None),
        (b"content-length:2\r\n", b"ok", True),
        (b"Content-Length: 2\r\n", b"okHTTP/1.1 200", False),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"ok", False),
        (b"Content-Length: +2\r\n", b"ok", False),
        (b"Content-Length: 0x2\r\n", b"ok", False),
        (b"Content-Length: 2, 2\r\n", b"ok", False),
        (b"Content-Length: 104857600\r\n", b"", False),
        (b"", b"ok", False),
        (b"Connection: close\r\nContent-Length: 2\r\n", b"ok", False),
        (b"Connection: x, Close\r\nContent-Length: 2\r\n", b"ok", False),
        (b"Connection: keep-alive\r\nContent-Length: 2\r\n", b"ok", True),
        (b"Transfer-Encoding: chunked\r\n", b"", None),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\n\r\n", True),
        (b"Transfer-Encoding: Chunked\r\n", b"1;x=y\r\no\r\n1 \r\nk\r\n0\r\n\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", b"1;x=y\r\no\r\n1\r\nk\r\n0\r\n\r\n", True),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\n", None),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\nX: y\r\n\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nokXX", False),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\n\r\nHTTP", False),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", b"ffffffff\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", b"1" * 300, False),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"ok", False),
        (b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n", False),
    ],
    ids=range(27),
)
def test_a_connection_is_used_again_only_where_the_end_is_beyond_doubt(
    fields: bytes, rest: bytes, whole: object
) -> None:
    assert body_is_whole(head(OK + fields + b"\r\n"), rest) is whole


def test_old_http_and_long_bodies_close_the_connection() -> None:
    assert body_is_whole(head(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), b"") is False
    long = head(OK + b"Content-Length: %d\r\n\r\n" % BODY_BYTES)
    assert body_is_whole(long, b"x" * BODY_BYTES) is True
    assert body_is_whole(long, b"x" * (BODY_BYTES + 1)) is False


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_some_answers_have_no_body_whatever_they_say(status: bytes) -> None:
    found = head(b"HTTP/1.1 " + status + b" x\r\nContent-Length: 5\r\n\r\n")
    assert body_is_whole(found, b"") is True
    assert body_is_whole(found, b"surplus") is False


def test_retry_after_is_told_as_it_came() -> None:
    assert head(b"HTTP/1.1 503 x\r\nretry-after:  120\t\r\n\r\n").retry_after == "120"
    assert head(OK + b"\r\n").retry_after is None
    told = head(OK + b"Retry-After: " + b"9" * 500 + b"\r\n\r\n").retry_after
    assert told is not None
    assert len(told) == 64


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: OK + tail))
def test_any_octets_are_read_or_refused(raw: bytes) -> None:
    try:
        found = read_head(raw)
    except Malformed:
        return
    if found is not None:
        assert 200 <= found.status < 600
        assert body_is_whole(found, raw[found.size :]) in (True, False, None)
