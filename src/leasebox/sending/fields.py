"""Header fields as octets: encoded (RFC 2047, RFC 2231), folded (RFC 5322 §2.2.3), and checked once more. Pure.

Every field of an outgoing message is made here. Whatever a caller hands in, the result is one field: a value that could
begin another one raises, since all input has been judged before.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from leasebox.sending.addressees import Addressee

WORD_OCTETS = 900
"""The longest word that stands unfolded in a line of at most 998 octets (RFC 5322 §2.1.1)."""
_LINE = 76
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")
_SOUND = re.compile(rb"[!-9;-~]+:[ -~]*(?:\r\n[ \t]+[!-~][ -~]*)*\r\n\Z")
_CHUNK_OCTETS = 39  # 52 characters of base64 and 12 around them: within a line of 76 (RFC 2047 §2)
_PLAIN_PARAMETER = re.compile(r"[A-Za-z0-9!#$&+.^_`{|}~ ()@,'=/:-]{1,60}\Z")
_UNESCAPED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")
_SECTION = 50


class UnsoundField(ValueError):
    """A field came out as something else than one field: a mistake of ours, never of a caller."""


def text(name: str, value: str) -> bytes:
    """An unstructured field (RFC 5322 §2.2.1), such as Subject."""
    words = value.split(" ")
    if value.isascii() and "=?" not in value and all(len(word) <= WORD_OCTETS for word in words):
        return _folded(name, [word if place == 0 else f" {word}" for place, word in enumerate(words)])
    return _folded(name, _spaced(_encoded_words(value)))


def tokens(name: str, words: Iterable[str]) -> bytes:
    """A structured field of ASCII words, none of them longer than WORD_OCTETS: folded between them only."""
    return _folded(name, _spaced(words))


def addresses(name: str, people: Sequence[Addressee]) -> bytes:
    """An address field (RFC 5322 §3.4)."""
    words: list[str] = []
    for place, each in enumerate(people):
        comma = "," if place + 1 < len(people) else ""
        *phrase, last = mailbox_words(each.name, each.address)
        words += [*phrase, last + comma]
    return _folded(name, _spaced(words))


def mailbox_words(name: str, address: str) -> list[str]:
    """A mailbox as words between which a line may be folded."""
    return [*_phrase(name), f"<{address}>"] if name else [address]


def date(name: str, at: datetime) -> bytes:
    """A date (RFC 5322 §3.3), in UTC."""
    return _folded(name, [format_datetime(at.astimezone(UTC).replace(microsecond=0))])


def parameters(name: str, value: str, given: Iterable[tuple[str, str]]) -> bytes:
    """A MIME field with parameters (RFC 2045 §5.1; RFC 2231 where they are not plain), each on a line of its own."""
    lines = [value, *(piece for key, text_ in given for piece in _parameter(key, text_))]
    return _checked(f"{name}: " + ";\r\n ".join(lines) + "\r\n")


def _phrase(name: str) -> list[str]:
    if not name.isascii() or "=?" in name:
        return list(_encoded_words(name))
    if _ATOMS.match(name):
        return name.split()
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return [f'"{escaped}"']


def _encoded_words(value: str) -> Iterator[str]:
    """RFC 2047 in base64; no character is torn apart (§5)."""
    chunk = b""
    for char in value:
        octets = char.encode()
        if len(chunk) + len(octets) > _CHUNK_OCTETS:
            yield _encoded_word(chunk)
            chunk = b""
        chunk += octets
    if chunk:
        yield _encoded_word(chunk)


def _encoded_word(chunk: bytes) -> str:
    return f"=?utf-8?B?{base64.b64encode(chunk).decode()}?="


def _spaced(words: Iterable[str]) -> list[str]:
    return [word if place == 0 else f" {word}" for place, word in enumerate(words)]


def _folded(name: str, pieces: Sequence[str]) -> bytes:
    """Pieces in lines of at most 76 octets where they allow it. All but the first begin with a blank, where a line may
    begin; one of blanks only is never alone in a line, for that would end the header to some readers."""
    lines, line = [], f"{name}: "
    for piece in pieces:
        if len(line) + len(piece) > _LINE and piece.strip() and line.strip() and piece.startswith(" "):
            lines.append(line)
            line = piece
        else:
            line += piece
    return _checked("\r\n".join([*lines, line]) + "\r\n")


def _checked(field: str) -> bytes:
    octets = field.encode("ascii", "replace")
    if not field.isascii() or not _SOUND.match(octets):
        raise UnsoundField(field.partition(":")[0])
    return octets


def _parameter(key: str, value: str) -> Iterator[str]:
    if _PLAIN_PARAMETER.match(value) and "=?" not in value:
        yield f'{key}="{value}"'
        return
    escaped = [chr(octet) if octet in _UNESCAPED else f"%{octet:02X}" for octet in value.encode()]
    sections = ["utf-8''"]
    for piece in escaped:
        if len(sections[-1]) + len(piece) > _SECTION:
            sections.append("")
        sections[-1] += piece
    if len(sections) == 1:
        yield f"{key}*={sections[0]}"
        return
    yield from (f"{key}*{place}*={section}" for place, section in enumerate(sections))
