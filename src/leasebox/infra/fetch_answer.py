"""Reading an HTTP/1.1 answer of which only the status matters (RFC 9112): pure, total and bounded.

The body is never kept. It is looked at only to learn where it ends, so that the connection can be used again.
"""

import re

import msgspec

HEAD_BYTES = 16 * 1024
BODY_BYTES = 16 * 1024
"""What is read of an answer at most; who sends more finds the connection closed."""

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\r\n]*)?\Z")
_NO_BODY = (204, 304)


class Malformed(ValueError):
    """What came is no HTTP/1 answer, or its head is too long."""


class Head(msgspec.Struct, frozen=True):
    """The head of an answer. size: its own bytes; body: how long the body is, None until the connection closes.

    body `-1`: in chunks. keeps: whether the connection may be used again after the body.
    """

    status: int
    retry_after: str | None
    size: int
    body: int | None
    keeps: bool


def read_head(buffer: bytes | bytearray) -> Head | None:
    """The final head at the beginning of `buffer`, past interim ones (1xx); None: more is needed. Raises Malformed."""
    start = 0
    while True:
        end = _end_of_head(buffer, start)
        if end is None:
            if len(buffer) >= HEAD_BYTES:
                raise Malformed("the head is too long")
            return None
        head = _head(bytes(buffer[start:end]), end)
        if head.status >= 200:
            return head
        if head.status == 101:
            raise Malformed("nobody asked to switch protocols")
        start = end


def body_is_whole(head: Head, rest: bytes | bytearray) -> bool | None:
    """Whether `rest`, what came after the head, is exactly the body: True; None: more may come; False: it never is."""
    if not head.keeps or len(rest) > BODY_BYTES:
        return False
    if head.body == -1:
        return _chunks_are_whole(bytes(rest))
    if head.body is None or head.body > BODY_BYTES or len(rest) > head.body:
        return False
    return True if len(rest) == head.body else None


def _end_of_head(buffer: bytes | bytearray, start: int) -> int | None:
    """Behind the empty line; lone line feeds are taken for line ends, as RFC 9112 §2.2 allows."""
    strict, lax = buffer.find(b"\r\n\r\n", start), buffer.find(b"\n\n", start)
    found = [place + length for place, length in ((strict, 4), (lax, 2)) if place >= 0]
    return min(found) if found and min(found) <= HEAD_BYTES else None


def _head(block: bytes, end: int) -> Head:
    first, *lines = block.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    match = _STATUS.match(first)
    if match is None:
        raise Malformed("no status line")
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
    status = int(match[2])
    length, keeps = _framing(status, fields)
    wishes = b",".join(fields.get(b"connection", ())).lower().split(b",")
    alive = match[1] == b"1" and b"close" not in [wish.strip() for wish in wishes]
    retry_after = fields.get(b"retry-after", [b""])[0].decode("ascii", "replace")
    return Head(status, retry_after[:64] or None, end, length, keeps and alive)


def _framing(status: int, fields: dict[bytes, list[bytes]]) -> tuple[int | None, bool]:
    """How long the body is, and whether that is beyond doubt: where two readers could differ, we do not read on."""
    codings, lengths = fields.get(b"transfer-encoding", []), fields.get(b"content-length", [])
    if status in _NO_BODY:
        return 0, True
    if codings:
        is_chunked = [coding.lower() for coding in codings] == [b"chunked"] and not lengths
        return (-1, True) if is_chunked else (None, False)
    if len(lengths) == 1 and re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        return int(lengths[0]), True
    return None, False


def _chunks_are_whole(rest: bytes) -> bool | None:
    place = 0
    while True:
        end = rest.find(b"\r\n", place)
        if end < 0:
            return None if len(rest) - place < 256 else False
        match = _CHUNK.match(rest[place:end])
        if match is None:
            return False
        size = int(match[1], 16)
        place = end + 2 + size + 2
        if size == 0:
            # No trailers: whatever stands here is not ours to read.
            return None if len(rest) < place else rest[end + 2 :] == b"\r\n"
        if size > BODY_BYTES:
            return False
        if len(rest) < place:
            return None
        if rest[place - 2 : place] != b"\r\n":
            return False
