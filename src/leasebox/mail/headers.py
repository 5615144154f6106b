"""Header fields: where they stand, and what they say (RFC 5322 §2.2, RFC 2047). Linear in the bytes, never raising."""

import binascii
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from leasebox.mail import charsets
from leasebox.mail.mime_bounds import FIELD_BYTES, HEADERS, MESSAGE_ID_CHARS, REFERENCES, Defects

_NAME: Final = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_MBOX_LINE: Final = (b"From ", b">From ")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# The text of an encoded word may hold a few bare question marks (senders forget to encode them); a bounded number,
# so that a flood of openings without an end stays linear.
_WORD: Final = re.compile(rb"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*+(?:\?(?!=)[^?]*+){0,3})\?=")
_MESSAGE_ID: Final = re.compile(rb"<([^<>\s]+)>")
_NOT_BASE64: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


class Fields:
    """The header fields of a mail or a part, in order, values unfolded but not decoded."""

    __slots__ = ("_first", "items")

    def __init__(self, items: list[tuple[str, bytes]]) -> None:
        self.items = items
        self._first: dict[str, bytes] = {}
        for name, value in items:
            self._first.setdefault(name.lower(), value)

    def first(self, name: str) -> bytes:
        """Value of the first field called `name` (lower case), or b""."""
        return self._first.get(name, b"")

    def every(self, name: str) -> list[bytes]:
        """Values of all fields called `name` (lower case)."""
        return [value for label, value in self.items if label.lower() == name]

    def __contains__(self, name: str) -> bool:
        return name in self._first


def scan(raw: bytes, start: int, stop: int, room: int, defects: Defects) -> tuple[Fields, int]:
    """The fields of the header block at `start`, and where its body begins (both within `stop`).

    At most `room` bytes and HEADERS fields are read; the body is found after the true end of the block all the same.
    The block ends at an empty line, or (with a defect) before a line that is no field.
    """
    items: list[tuple[str, bytes]] = []
    limit = min(stop, start + room)
    name, value_at, pos = "", start, start
    while pos < stop:
        if len(items) >= HEADERS:
            defects.add("headers_over")
            return Fields(items), _after_blank_line(raw, pos - 1, stop)
        if pos >= limit:
            defects.add("header_bytes_over")
            _keep(items, name, raw[value_at:limit], defects)
            return Fields(items), _after_blank_line(raw, max(0, pos - 1), stop)
        line_end = raw.find(b"\n", pos, stop)
        after = stop if line_end < 0 else line_end + 1
        if raw[pos] in b" \t" and name:
            pos = after
            continue
        _keep(items, name, raw[value_at : min(pos, limit)], defects)
        if raw[pos] == 10 or raw.startswith(b"\r\n", pos):
            return Fields(items), after
        found = _NAME.match(raw, pos, after)
        if found is not None:
            name, value_at = found[1].decode("ascii"), found.end()
        elif pos == start and raw.startswith(_MBOX_LINE, pos):
            name, value_at = "", after
        else:
            defects.add("header_end_missing")
            return Fields(items), pos
        pos = after
    _keep(items, name, raw[value_at : min(pos, limit)], defects)
    return Fields(items), stop


def decode_field(value: bytes, hint: str = "") -> str:
    """A field's value as one line of text: RFC 2047 words decoded, raw 8-bit repaired, controls turned into spaces.

    `hint` is the charset that the body declares; it reads raw 8-bit values that are not UTF-8.
    """
    value = value[:FIELD_BYTES]
    text = _decode_words(value, hint) if b"=?" in value else _plain(value, hint)
    return text.strip() if text.isprintable() else _CONTROL.sub(" ", text).strip()


def read_date(value: bytes) -> datetime | None:
    """The moment a Date field names, in UTC, or None where it names none (RFC 5322 §3.3, obsolete zones too)."""
    try:
        moment = parsedate_to_datetime(value[:200].decode("ascii", "replace"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def read_message_ids(value: bytes) -> tuple[str, ...]:
    """Message ids with their angle brackets, at most REFERENCES: the first tenth and the last of a longer chain."""
    found = [charsets.decode(one) for one in _MESSAGE_ID.findall(value[:FIELD_BYTES]) if len(one) <= MESSAGE_ID_CHARS]
    if len(found) > REFERENCES:
        head = REFERENCES // 10
        found = found[:head] + found[head - REFERENCES :]
    return tuple(f"<{one}>" for one in found)


def read_message_id(value: bytes) -> str | None:
    """The first message id of a value; one written without brackets gets them."""
    found = read_message_ids(value[: 4 * MESSAGE_ID_CHARS])
    if found:
        return found[0]
    bare = decode_field(value[:MESSAGE_ID_CHARS]).strip("<>")
    return f"<{bare}>" if bare and " " not in bare else None


def loose_base64(text: bytes) -> bytes:
    """What base64 `text` encodes, skipping what is no base64 and minding no padding."""
    clean = text.translate(None, _NOT_BASE64)
    if len(clean) % 4 == 1:
        clean = clean[:-1]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def _keep(items: list[tuple[str, bytes]], name: str, folded: bytes, defects: Defects) -> None:
    if not name:
        return
    if len(folded) > FIELD_BYTES:
        defects.add("field_cut")
        folded = folded[:FIELD_BYTES]
    items.append((name, folded.replace(b"\r", b"").replace(b"\n", b"").strip()))


def _after_blank_line(raw: bytes, start: int, stop: int) -> int:
    bare = raw.find(b"\n\n", start, stop)
    full = raw.find(b"\n\r\n", start, stop if bare < 0 else bare)
    if full >= 0:
        return full + 3
    return bare + 2 if bare >= 0 else stop


def _plain(value: bytes, hint: str) -> str:
    return charsets.decode(value, "iso-2022-jp" if b"\x1b$" in value else "", hint)


class _Run:
    """Adjacent encoded words in one charset; their bytes are joined first, since senders split characters."""

    __slots__ = ("carry", "label", "octets")

    def __init__(self, label: bytes) -> None:
        self.label = label
        self.octets = bytearray()
        self.carry = b""

    def add(self, encoding: bytes, text: bytes) -> None:
        if encoding in b"qQ":
            self._settle()
            self.octets += binascii.a2b_qp(text, header=True)
            return
        ended = b"=" in text
        clean = self.carry + text.translate(None, _NOT_BASE64)
        whole = len(clean) if ended else len(clean) - len(clean) % 4
        self.octets += loose_base64(clean[:whole])
        self.carry = clean[whole:]

    def text(self) -> str:
        self._settle()
        return charsets.decode(bytes(self.octets), self.label.decode("ascii", "replace"))

    def _settle(self) -> None:
        self.octets += loose_base64(self.carry)
        self.carry = b""


def _decode_words(value: bytes, hint: str) -> str:
    out: list[str] = []
    run: _Run | None = None
    last = 0
    for found in _WORD.finditer(value):
        gap = value[last : found.start()]
        last = found.end()
        label = found[1].lower()
        if run is not None and not gap.strip():
            if run.label != label:
                out.append(run.text())
                run = _Run(label)
        else:
            out += (run.text() if run else "", _plain(gap, hint))
            run = _Run(label)
        run.add(found[2], found[3])
    out += (run.text() if run else "", _plain(value[last:], hint))
    return "".join(out)
