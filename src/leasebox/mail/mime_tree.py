"""The tree of parts of a mail, as byte spans (RFC 2046 §5.1). One scan, no recursion, bounded before it works.

It is not built on `email.message`: to bound depth and parts before that parser runs one has to find them in the bytes
first, and then nothing is left to do for it. Spans also are what IMAP's BODY[1.2] needs.
"""

from dataclasses import dataclass, field
from typing import Final

from leasebox.mail import headers
from leasebox.mail.headers import Fields
from leasebox.mail.mime_bounds import (
    DELIMITER_TRIES,
    DEPTH,
    HEADER_BYTES,
    PART_HEADER_BYTES,
    PART_HEADERS_BYTES,
    PARTS,
    Defects,
)
from leasebox.mail.parameters import read_parameters

_BOUNDARY_CHARS: Final = 256
_PADDING_CHARS: Final = 256


@dataclass(slots=True)
class Part:
    """One part: `raw[start:end]` is its body as it was sent; `path` numbers it as IMAP does (RFC 9051 §6.4.5.1)."""

    path: str
    fields: Fields
    start: int
    end: int
    content_type: str
    parameters: dict[str, str]
    children: list["Part"] = field(default_factory=list)

    @property
    def is_multipart(self) -> bool:
        """True for a multipart that was opened; one that could not be is a leaf."""
        return bool(self.children)


def read_tree(raw: bytes, defects: Defects) -> Part:
    """The root part of a mail and, below it, all others. Total: whatever the bytes, there is a root."""
    return _Scan(raw, defects).root()


class _Scan:
    """One walk over one mail, with what it may still spend."""

    def __init__(self, raw: bytes, defects: Defects) -> None:
        self._raw = raw
        self._defects = defects
        self._parts_left = PARTS
        self._tries_left = DELIMITER_TRIES
        self._header_bytes_left = PART_HEADERS_BYTES

    def root(self) -> Part:
        root = self._part((0, len(self._raw)), "", HEADER_BYTES, "text/plain")
        waiting = [(root, 1)]
        while waiting:
            part, depth = waiting.pop()
            if part.content_type.startswith("multipart/"):
                self._open(part, depth)
                waiting += ((child, depth + 1) for child in reversed(part.children))
        if not root.children:
            root.path = "1"
        return root

    def _open(self, part: Part, depth: int) -> None:
        """Read a multipart's children; one over a bound stays a leaf, one without delimiters becomes text."""
        if depth > DEPTH or self._parts_left <= 0:
            self._defects.add("too_deep" if depth > DEPTH else "too_many_parts")
            return
        default = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
        prefix = f"{part.path}." if part.path else ""
        for number, span in enumerate(self._spans(part), 1):
            room = min(PART_HEADER_BYTES, self._header_bytes_left)
            child = self._part(span, f"{prefix}{number}", room, default)
            self._header_bytes_left -= min(room, child.start - span[0])
            part.children.append(child)
        if not part.children:
            part.content_type = "text/plain"

    def _part(self, span: tuple[int, int], path: str, room: int, default: str) -> Part:
        start, end = span
        fields, body = headers.scan(self._raw, start, end, room, self._defects)
        value = fields.first("content-type")
        if not value:
            return Part(path, fields, body, end, default, {})
        content_type, parameters = read_parameters(value, "", self._defects)
        if "/" not in content_type:  # RFC 2045 §5.2; `Content-Type: text` is old and means plain text
            content_type = "text/html" if content_type == "html" else "text/plain"
        return Part(path, fields, body, end, content_type, parameters)

    def _spans(self, part: Part) -> list[tuple[int, int]]:
        """Where the children of a multipart stand; [] where its delimiter is never found."""
        dashed = self._dashed_boundary(part)
        if not dashed:
            return []
        spans: list[tuple[int, int]] = []
        at, opened, is_last = self._delimiter(part.start, part, dashed)
        if at >= part.end:
            self._defects.add("boundary_unused")
        while not is_last and opened < part.end:
            if self._parts_left <= 0:
                self._defects.add("too_many_parts")
                break
            self._parts_left -= 1
            at, after, is_last = self._delimiter(opened, part, dashed)
            if at >= part.end:
                self._defects.add("multipart_unclosed")
                spans.append((opened, part.end))
            else:
                spans.append((opened, max(opened, _before_line_break(self._raw, at))))
            opened = after
        if self._tries_left <= 0:
            self._defects.add("too_many_delimiters")
        return spans

    def _dashed_boundary(self, part: Part) -> bytes:
        """The delimiter as declared; else the first line that looks like one; else b""."""
        named = part.parameters.get("boundary", "").rstrip()
        if named:
            return b"--" + named.encode("utf-8", "replace")[:_BOUNDARY_CHARS]
        self._defects.add("boundary_missing")
        raw, at = self._raw, part.start
        if not raw.startswith(b"--", at):
            at = raw.find(b"\n--", at, part.end) + 1
        line = raw[at : min(part.end, at + _BOUNDARY_CHARS)].partition(b"\n")[0].strip()
        return line if len(line) > 2 and line.startswith(b"--") else b""

    def _delimiter(self, pos: int, part: Part, dashed: bytes) -> tuple[int, int, bool]:
        """The next delimiter line from `pos`: where it begins, where the next line begins, and whether it closes.

        `(part.end, part.end, True)` when there is none.
        """
        raw, end = self._raw, part.end
        at = pos if raw.startswith(dashed, pos, end) else raw.find(b"\n" + dashed, max(part.start, pos - 1), end) + 1
        while at > 0:
            tail_at = at + len(dashed)
            line_end = raw.find(b"\n", tail_at, end)
            after = end if line_end < 0 else line_end + 1
            tail = raw[tail_at : min(after, tail_at + _PADDING_CHARS)].strip(b" \t\r\n")
            if after - tail_at <= _PADDING_CHARS and tail in (b"", b"--"):
                return at, after, bool(tail)
            self._tries_left -= 1
            if self._tries_left <= 0:
                break
            at = raw.find(b"\n" + dashed, tail_at - 1, end) + 1
        return end, end, True


def _before_line_break(raw: bytes, at: int) -> int:
    """RFC 2046 §5.1.1: the line break before a delimiter belongs to the delimiter."""
    if at < 1 or raw[at - 1] != 10:
        return at
    return at - 2 if raw[at - 2 : at - 1] == b"\r" else at - 1
