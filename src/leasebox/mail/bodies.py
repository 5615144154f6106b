"""Part bodies: transfer encodings undone (RFC 2045 §6, uuencode) and flowed text unwrapped (RFC 3676)."""

import binascii
import re
from typing import Final

from leasebox.mail.headers import loose_base64
from leasebox.mail.mime_bounds import BASE64_RESTARTS, SOFT_BREAK_BYTES, Defects

_SOFT_BREAK: Final = re.compile(rb"=[ \t]+\r?\n")
_INNER_BLANK: Final = re.compile(rb"\S[ \t]+\S")
_UU_NAMES: Final = frozenset({"x-uuencode", "uuencode", "x-uue", "uue"})
_UU_BEGIN: Final = re.compile(rb"^begin [0-7]{3,4} [^\n]*\n", re.MULTILINE)
_UU_SEARCH_BYTES: Final = 16 * 1024


def decode_body(body: bytes, encoding: bytes, kind: str, defects: Defects) -> bytes:
    """The octets that a part's `body` stands for; `kind` is its content type.

    A body that contradicts its declared encoding is taken as it stands rather than lost.
    """
    name = encoding.strip().lower().partition(b";")[0].decode("ascii", "replace")
    if name == "base64":
        return _decode_base64(body, kind, defects)
    if name == "quoted-printable":
        return binascii.a2b_qp(_with_plain_soft_breaks(body))
    if name in _UU_NAMES:
        return _decode_uu(body, defects)
    return body


def unwrap_flowed(text: str, delete_space: str) -> str:
    """Paragraphs of `format=flowed` text on one line each; `delete_space` is the DelSp parameter (RFC 3676 §4)."""
    out: list[str] = []
    held: list[str] = []
    held_depth = 0
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:].removeprefix(" ")
        flows = content.endswith(" ") and content != "-- "
        if held and (depth != held_depth or content == "-- "):
            out.append(_quoted(held_depth, held))
            held = []
        held_depth = depth
        held.append(content[:-1] if flows and delete_space.lower() == "yes" else content)
        if not flows:
            out.append(_quoted(depth, held))
            held = []
    if held:
        out.append(_quoted(held_depth, held))
    return "\n".join(out)


def _with_plain_soft_breaks(body: bytes) -> bytes:
    """RFC 2045 §6.7 rule 3: blanks that some relay left at a line's end are no part of it."""
    if len(body) > SOFT_BREAK_BYTES or (b"= " not in body and b"=\t" not in body):
        return body
    return _SOFT_BREAK.sub(b"=\n", body)


def _quoted(depth: int, pieces: list[str]) -> str:
    line = "".join(pieces)
    return f"{'>' * depth} {line}" if depth else line


def _decode_base64(body: bytes, kind: str, defects: Defects) -> bytes:
    # Nothing at all is what nothing is encoded as: an attached file may be empty.
    if kind.startswith("text/") and body.strip():
        encoded = _without_prose(body)
        if not encoded.strip():
            defects.add("base64_missing")
            return body
        if len(encoded) < len(body):
            defects.add("base64_trailed")
        body = encoded
    padding = body.find(b"=")
    if padding < 0 or not body[padding:].translate(None, b"= \t\r\n"):
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            defects.add("base64_bad")
            return loose_base64(body)
    return _decode_glued(body, defects)


def _without_prose(body: bytes) -> bytes:
    """`body` up to the first line with blanks between its characters: base64 has none, a list's footer has."""
    prose = _INNER_BLANK.search(body)
    return body if prose is None else body[: body.rfind(b"\n", 0, prose.start()) + 1]


def _decode_glued(body: bytes, defects: Defects) -> bytes:
    """Several padded runs in one body, which some senders make by encoding piece by piece."""
    out: list[bytes] = []
    pos = 0
    for _ in range(BASE64_RESTARTS):
        padding = body.find(b"=", pos)
        out.append(loose_base64(body[pos:] if padding < 0 else body[pos:padding]))
        if padding < 0:
            break
        pos = padding + 1
    else:
        defects.add("base64_bad")
    return b"".join(out)


def _decode_uu(body: bytes, defects: Defects) -> bytes:
    begin = _UU_BEGIN.search(body[:_UU_SEARCH_BYTES])
    if begin is None:
        defects.add("uuencode_bad")
        return body
    out = bytearray()
    for line in body[begin.end() :].split(b"\n"):
        text = line.rstrip(b"\r")
        if not text or text in (b"end", b"`"):
            break
        try:
            out += binascii.a2b_uu(text)
        except binascii.Error:
            defects.add("uuencode_bad")
            out += _loose_uu(text)
    return bytes(out)


def _loose_uu(line: bytes) -> bytes:
    """A line with the wrong padding: as many characters as its length byte says are decoded, the rest is noise."""
    wanted = ((line[0] - 32 & 63) * 4 + 2) // 3
    try:
        return binascii.a2b_uu(line[: 1 + wanted])
    except binascii.Error:
        return b""
