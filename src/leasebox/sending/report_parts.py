"""The parts of a mail that machines write to us (RFC 6522), as text. Pure, total, and bounded before it works."""

import re
from dataclasses import dataclass
from typing import Final

from leasebox.mail import charsets
from leasebox.mail.bodies import decode_body
from leasebox.mail.headers import Fields
from leasebox.mail.mime_bounds import Defects
from leasebox.mail.mime_tree import Part, read_tree
from leasebox.values.addresses import Mailbox, MalformedAddress

READ_OCTETS: Final = 512 * 1024
"""How much of a mail is looked at: reports stand before the copy of what they report on."""
LEAF_OCTETS: Final = 64 * 1024
LEAVES: Final = 50
FIELD_CHARS: Final = 2_000
GROUPS: Final = 200
# What xtext must encode, and so what it is known by: `+` and `=` (RFC 3461 §4).
_XTEXT: Final = re.compile(r"\+(2B|3D)")
_ESCAPED: Final = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_FIELD: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60})[ \t]*:[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One part that holds no others. text: `\\n` ends lines."""

    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A mail taken apart: the fields of its header, its own type, its leaves in order."""

    fields: Fields
    content_type: str
    report_type: str
    leaves: tuple[Leaf, ...]

    def first(self, *content_types: str) -> str:
        """The text of the first leaf of one of these types, or ""."""
        return next((leaf.text for leaf in self.leaves if leaf.content_type in content_types), "")


def opened(raw: bytes) -> Opened:
    """Take a mail apart. Never raises; what lies beyond the bounds is not there."""
    head, defects = raw[:READ_OCTETS], Defects()
    root = read_tree(head, defects)
    leaves = tuple(_leaf(head, part, defects) for part in _leaves(root))
    return Opened(root.fields, root.content_type, root.parameters.get("report-type", "").strip().lower(), leaves)


def groups(text: str) -> list[dict[str, list[str]]]:
    """Blocks of fields between empty lines (RFC 3464 §2.1, RFC 5965 §3): lower-case name → values, unfolded."""
    found: list[dict[str, list[str]]] = [{}]
    last: list[str] | None = None
    for line in text.split("\n"):
        if not line.strip():
            if found[-1]:
                if len(found) >= GROUPS:
                    break
                found.append({})
            last = None
        elif line[0] in " \t" and last is not None:
            last[-1] = f"{last[-1]} {line.strip()}"[:FIELD_CHARS]
        elif match := _FIELD.match(line[:FIELD_CHARS]):
            last = found[-1].setdefault(match[1].lower(), [])
            last.append(match[2].strip())
        else:
            last = None
    return [group for group in found if group]


def typed_address(value: str) -> str | None:
    """The canonical address in `rfc822; a@b` or `utf-8; a@b` (RFC 3464 §2.3.2, RFC 6533 §3); None if there is none."""
    kind, semicolon, rest = value.partition(";")
    text = (rest if semicolon else kind).strip()
    if text.startswith("<"):
        text = text[1:].partition(">")[0]
    text = text.partition(" ")[0]
    text = _ESCAPED.sub(lambda match: _char(match[1]), text)
    # Original-Recipient repeats ORCPT, which clients encode.
    return canonical(_XTEXT.sub(lambda match: _char(match[1]), text))


def canonical(text: str) -> str | None:
    """An address in the one spelling that we store, or None."""
    try:
        return str(Mailbox.parse(text))
    except MalformedAddress:
        return None


def _char(hexadecimal: str) -> str:
    number = int(hexadecimal, 16)
    return chr(number) if number <= 0x10FFFF else "\x00"


def _leaves(root: Part) -> list[Part]:
    found: list[Part] = []
    waiting = [root]
    while waiting and len(found) < LEAVES:
        part = waiting.pop()
        if part.children:
            waiting += reversed(part.children)
        else:
            found.append(part)
    return found


def _leaf(head: bytes, part: Part, defects: Defects) -> Leaf:
    body = head[part.start : min(part.end, part.start + 2 * LEAF_OCTETS)]
    # RFC 2046 §5.2.1 allows message/* no encoding, and some encode it nevertheless.
    content = decode_body(body, part.fields.first("content-transfer-encoding"), part.content_type, defects)
    text = charsets.decode(content[:LEAF_OCTETS], part.parameters.get("charset", ""))
    return Leaf(part.content_type, text.replace("\r\n", "\n").replace("\r", "\n"))
