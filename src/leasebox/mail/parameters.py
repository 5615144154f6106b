"""Values with parameters: Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183, RFC 2231)."""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

from leasebox.mail import charsets
from leasebox.mail.headers import decode_field
from leasebox.mail.mime_bounds import FILENAME_BYTES, PARAMETERS, STRUCTURED_BYTES, Defects
from leasebox.values.normal_form import nfc

_MAIN: Final = re.compile(rb"\s*([A-Za-z0-9!#$&^_.+-]{1,127}(?:/[A-Za-z0-9!#$&^_.+*-]{1,127})?)")
_GAP: Final = re.compile(rb"[;\s]*")
_PARAMETER: Final = re.compile(
    rb'([^\s=;"*]{1,64})(?:\*(\d{1,3}))?(\*)?\s*+=\s*+'
    rb'(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|\\?\Z)|([^;]*+))',
    re.DOTALL,
)
_QUOTED_PAIR: Final = re.compile(rb'\\(["\\])')
_UNSAFE: Final = re.compile(r'[<>:"|?*]')
_EXTENSIONS: Final = {
    "message/rfc822": ".eml",
    "message/global": ".eml",
    "message/delivery-status": ".txt",
    "text/plain": ".txt",
    "text/html": ".html",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/vcard": ".vcf",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/json": ".json",
    "application/pgp-signature": ".asc",
    "application/pkcs7-signature": ".p7s",
    "application/ms-tnef": ".dat",
}

_Pieces = dict[str, list[tuple[int, bool, bytes]]]


def read_parameters(value: bytes, hint: str, defects: Defects) -> tuple[str, dict[str, str]]:
    """The leading word in lower case ("" where there is none) and the parameters, RFC 2231 pieces put together.

    Names are lower case; at most PARAMETERS pieces and STRUCTURED_BYTES are read.
    """
    if len(value) > STRUCTURED_BYTES:
        defects.add("field_cut")
        value = value[:STRUCTURED_BYTES]
    main = _MAIN.match(value)
    start = main.end() if main else 0
    pieces = _pieces(value, start, defects)
    word = main[1].decode("ascii").lower() if main else ""
    return word, {name: _assemble(found, hint) for name, found in pieces.items()}


def safe_filename(name: str, content_type: str, path: str) -> str:
    """A name to save a stranger's file under: the last path part, no controls, no invisible or reserved characters.

    Where nothing is left it is made from the part's place and type. At most FILENAME_BYTES of UTF-8.
    """
    last = re.split(r"[/\\]", nfc(name[:1000]))[-1]
    kept = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    kept = " ".join(_UNSAFE.sub("_", kept).split()).strip(" .")
    if not kept:
        return f"attachment-{path}{_EXTENSIONS.get(content_type, '')}"
    return _shortened(kept)


def _pieces(value: bytes, start: int, defects: Defects) -> _Pieces:
    found: _Pieces = {}
    pos, count = start, 0
    while True:
        gap = _GAP.match(value, pos)
        pos = gap.end() if gap else pos
        if pos >= len(value):
            return found
        piece = _PARAMETER.match(value, pos)
        if piece is None:
            pos = value.find(b";", pos)
            if pos < 0:
                return found
            continue
        count += 1
        if count > PARAMETERS:
            defects.add("parameters_over")
            return found
        name = piece[1].decode("ascii", "replace").lower()
        body = _QUOTED_PAIR.sub(rb"\1", piece[4]) if piece[4] is not None else piece[5].strip()
        extended = piece[3] is not None
        found.setdefault(name, []).append(
            (-1 if not extended and piece[2] is None else int(piece[2] or 0), extended, body)
        )
        pos = piece.end()


def _assemble(found: list[tuple[int, bool, bytes]], hint: str) -> str:
    """RFC 2231 wins over a plain value of the same name, which stands for old readers."""
    sections = sorted((piece for piece in found if piece[0] >= 0), key=lambda piece: piece[0])
    if not sections:
        return decode_field(found[0][2], hint)
    if not any(extended for _, extended, _ in sections):
        return decode_field(b"".join(body for _, _, body in sections), hint)
    label = b""
    first = sections[0][2].split(b"'", 2)
    if sections[0][1] and len(first) == 3:
        label = first[0]
        sections[0] = (0, True, first[2])
    octets = b"".join(unquote_to_bytes(body) if extended else body for _, extended, body in sections)
    return charsets.decode(octets, label.decode("ascii", "replace"), hint).strip()


def _shortened(name: str) -> str:
    if len(name.encode()) <= FILENAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 16:
        stem, extension = name, ""
    tail = f".{extension}" if extension else ""
    return stem.encode()[: FILENAME_BYTES - len(tail.encode())].decode("utf-8", "ignore") + tail
