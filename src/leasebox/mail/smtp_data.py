"""The content of one mail: where it ends, what its dots mean, and whether it may be kept (RFC 5321 §4.5.2, RFC 3030).

Content is held *framed*, that is with the CRLF that came before its first line, so that one search finds the end, the
stuffed dots and the header fields of the first line as of any other.
"""

from dataclasses import dataclass

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_replies import Reply

CRLF = b"\r\n"
END = b"\r\n.\r\n"
_STUFFED = b"\r\n."


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one mail may measure. Lines: RFC 5322 says 998 octets, real mail does not; 64 KiB hinders only bombs."""

    octets: int = 26_214_400
    line_octets: int = 65_536
    hops: int = 100

    @property
    def stuffed_octets(self) -> int:
        """The most that framed content takes on the wire: a line of one dot, 3 octets, is sent as 4."""
        return self.octets + self.octets // 3 + 2 * len(END)

    @property
    def flood_octets(self) -> int:
        """How much of a refused mail is read to its end before the client is cut off."""
        return 2 * self.stuffed_octets


class DottedContent:
    """What follows DATA. Only CRLF.CRLF ends it, whatever else it holds and however it was refused on the way."""

    __slots__ = ("_bounds", "_dropped", "_scanned", "refusal")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._scanned = 0
        self._dropped = 0
        self.refusal: Reply | None = None

    def take(self, buffer: bytearray) -> bytes | Reply | None:
        """Cut the content out of `buffer`, which begins framed: the mail or its refusal, None until it ends."""
        end = buffer.find(END, self._scanned)
        if end < 0:
            self._scanned = max(0, len(buffer) - len(END) + 1)
            if len(buffer) > self._bounds.stuffed_octets:
                self.shed(say.TOO_BIG, buffer)
            elif self.refusal:
                self._drop(buffer)
            return None
        framed = b"" if self.refusal else _cut(buffer, end + len(CRLF))
        del buffer[: end + len(END)]
        return self.refusal or keep(framed.replace(_STUFFED, CRLF) if _STUFFED in framed else framed, self._bounds)

    def shed(self, refusal: Reply, buffer: bytearray) -> None:
        """Keep nothing of this mail from here on; its end is answered with `refusal`."""
        self.refusal = self.refusal or refusal
        self._drop(buffer)

    @property
    def flooded(self) -> bool:
        """Whether a refused mail goes on for so long that its client is not worth hearing out."""
        return self._dropped > self._bounds.flood_octets

    def _drop(self, buffer: bytearray) -> None:
        """Drop what cannot be the beginning of the end."""
        kept = len(END) - 1
        self._dropped += max(0, len(buffer) - kept)
        del buffer[:-kept]
        self._scanned = 0


class ChunkedContent:
    """What the BDAT commands of one mail bring (RFC 3030 §2). A refusal stays until the last chunk."""

    __slots__ = ("_bounds", "_framed", "refusal")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._framed = bytearray(CRLF)
        self.refusal: Reply | None = None

    @property
    def held_octets(self) -> int:
        """Memory that the chunks so far take, in octets."""
        return len(self._framed)

    def add(self, octets: bytearray) -> None:
        """Append part of a chunk."""
        if self.refusal is None and len(self._framed) + len(octets) > self._bounds.octets + len(CRLF):
            self.shed(say.TOO_BIG)
        if self.refusal is None:
            self._framed += octets

    def shed(self, refusal: Reply) -> None:
        """Keep nothing of this mail; each further chunk is answered with `refusal`."""
        self.refusal = self.refusal or refusal
        self._framed = bytearray(CRLF)

    def finish(self) -> bytes | Reply:
        """The whole mail, or why it is refused."""
        return self.refusal or keep(bytes(self._framed), self._bounds)


def keep(framed: bytes, bounds: Bounds) -> bytes | Reply:
    """Framed, unstuffed content without its frame, or the reply that refuses it.

    A bare CR or LF is refused, never repaired: servers that disagree about where lines end are how mails are smuggled.
    """
    if len(framed) - len(CRLF) > bounds.octets:
        return say.TOO_BIG
    lines = framed.count(CRLF)
    if framed.count(b"\n") != lines or framed.count(b"\r") != lines:
        return say.BARE_EOL_IN_CONTENT
    if _hops(framed) > bounds.hops:
        return say.LOOP
    if _has_long_line(framed, bounds.line_octets):
        return say.LONG_LINE_IN_CONTENT
    return framed[len(CRLF) :]


def _cut(buffer: bytearray, end: int) -> bytes:
    """The octets before `end`, copied once."""
    with memoryview(buffer) as view:
        return bytes(view[:end])


def _hops(framed: bytes) -> int:
    """How many Received fields the header has (RFC 5321 §6.3)."""
    end = framed.find(b"\r\n\r\n")
    header = framed if end < 0 else framed[:end]
    return header.lower().count(b"\r\nreceived:")


def _has_long_line(framed: bytes, limit: int) -> bool:
    """Whether a line exceeds `limit` octets without its CRLF. Leaps from one last newline in reach to the next."""
    start = 0
    reach = limit + len(CRLF)
    while len(framed) - start > limit:
        newline = framed.rfind(b"\n", start, start + reach)
        if newline < 0:
            return True
        start = newline + 1
    return False
