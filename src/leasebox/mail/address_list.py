"""Address fields: display names and bare addresses (RFC 5322 §3.4), from whatever stands there, in one pass."""

import re
from typing import Final

import msgspec

from leasebox.mail import charsets
from leasebox.mail.headers import decode_field
from leasebox.mail.mime_bounds import ADDRESS_CHARS, ADDRESSES, FIELD_BYTES, NAME_CHARS, Defects


class Address(msgspec.Struct, frozen=True, gc=False):
    """One mailbox: `name` is decoded display text from a stranger; `address` has a lower-case domain, no brackets."""

    name: str
    address: str


# One byte is one character here (Latin-1), so that values are decoded only after they are taken apart: an encoded
# word or an 8-bit name may hide commas.
_TOKEN: Final = re.compile(
    r'"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*+)"'
    r"|<(?P<angle>[^<>]*+)>?"
    r"|(?P<comment>\()"
    r"|(?P<mark>[,;:])"
    r'|(?P<atom>(?:\[[^\]\s]{0,80}\]|[^\s"<(,;:])+)'
    r"|(?P<space>\s+)",
    re.DOTALL,
)
_PAREN: Final = re.compile(r"[()]|\\.", re.DOTALL)
_SIMPLE_CHARS: Final = 400
_SIMPLE: Final = re.compile(
    r'\s*(?:"([^"\\]*)"|([^"<>(),;:@\\\[\]]*))\s*<([^\s<>@"(),;:\\\[\]]+@[^\s<>@"(),;:\\\[\]]+)>\s*'
)
_BARE: Final = re.compile(r'[^\s<>@"(),;:\\\[\]]+@[^\s<>@"(),;:\\\[\]]+')
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


def read_addresses(value: bytes, hint: str, defects: Defects) -> tuple[Address, ...]:
    """All mailboxes of an address field, groups flattened, at most ADDRESSES.

    An entry that is a name only (`To: Recipient-List`) has the address "".
    """
    text = value[:FIELD_BYTES].decode("latin-1")
    if len(text) <= _SIMPLE_CHARS:
        if _BARE.fullmatch(text):
            return (_address("", text, hint),)
        simple = _SIMPLE.fullmatch(text)
        if simple:
            return (_address(simple[1] or simple[2] or "", simple[3], hint),)
    return _Reader(text, hint, defects).read()


def domain_of(address: str) -> str:
    """What stands after the last `@`, or ""."""
    return address.rpartition("@")[2] if "@" in address else ""


class _Reader:
    """One pass over the tokens of a field. Openings without an end are plain characters from there on."""

    def __init__(self, text: str, hint: str, defects: Defects) -> None:
        self._text = text
        self._hint = hint
        self._defects = defects
        self._found: list[Address] = []
        self._comments_closed = True
        self._clear()

    def read(self) -> tuple[Address, ...]:
        text, pos, end = self._text, 0, len(self._text)
        while pos < end:
            token = _TOKEN.match(text, pos)
            if token is None:  # an opening quote that nothing closes
                text = text[:pos] + text[pos:].replace('"', " ")
                continue
            if token.lastgroup == "comment":
                pos = self._comment(text, token.end())
                continue
            pos = token.end()
            if token.lastgroup == "mark":
                self._mark(token[0])
                if len(self._found) >= ADDRESSES:
                    self._defects.add("addresses_over")
                    return tuple(self._found)
            else:
                self._take(token.lastgroup or "", token[token.lastgroup or 0])
        self._flush()
        return tuple(self._found)

    def _clear(self) -> None:
        self._phrase: list[str] = []
        self._atoms: list[str] = []
        self._quoted = ""
        self._angle: str | None = None
        self._remark = ""

    def _take(self, group: str, text: str) -> None:
        if group == "angle":
            self._angle = text if self._angle is None else self._angle
        elif group == "quoted":
            self._quoted = _QUOTED_PAIR.sub(r"\1", text)
            self._phrase.append(self._quoted)
            self._atoms.append(" ")
        elif group == "space":
            self._phrase.append(" ")
            self._atoms.append(" ")
        else:
            if text.startswith("@") and self._atoms[-1:] == [" "] and self._phrase[-1:] == [self._quoted]:
                self._angle = self._angle or f'"{self._quoted}"{text}'
                self._phrase.pop()
                return
            self._phrase.append(text)
            self._atoms.append(text)

    def _mark(self, mark: str) -> None:
        if mark != ":":
            self._flush()
        elif "@" in "".join(self._atoms) or self._angle is not None:
            self._take("atom", mark)
        else:  # a group's name (RFC 5322 §3.4) is nobody's
            self._clear()

    def _comment(self, text: str, start: int) -> int:
        """Read a comment, nested to any depth without recursion; returns where to go on."""
        depth = 1
        if self._comments_closed:
            for paren in _PAREN.finditer(text, start):
                depth += {"(": 1, ")": -1}.get(paren[0], 0)
                if not depth:
                    self._remark = self._remark or text[start : paren.start()][:NAME_CHARS]
                    return paren.end()
        self._comments_closed = False
        return start

    def _flush(self) -> None:
        phrase, address = "".join(self._phrase).strip(), ""
        if self._angle is not None and "@" in self._angle:
            address = self._angle
        else:
            words = re.sub(r"\s?([@.])\s?", r"\1", "".join(self._atoms)).split()
            address = next((word for word in words if "@" in word.strip("@")), "")
            if address:
                phrase = " ".join([self._quoted, *(word for word in words if "@" not in word)])
            elif _BARE.fullmatch(self._quoted[:ADDRESS_CHARS]):
                phrase, address = "", self._quoted
        if address or phrase:
            self._found.append(_address(phrase or self._remark, address, self._hint))
        self._clear()


def _address(name: str, address: str, hint: str) -> Address:
    shown = " ".join(decode_field(name.encode("latin-1"), hint).split()) if name else ""
    if len(shown) > 1 and shown[0] == shown[-1] and shown[0] in "\"'":
        shown = shown[1:-1].strip()
    return Address(shown[:NAME_CHARS], _tidy(address, hint))


def _tidy(address: str, hint: str) -> str:
    """`address` as it is compared and stored: no route, no blanks, lower-case domain; "" where it is none."""
    text = address if address.isascii() else charsets.decode(address.encode("latin-1"), "", hint)
    if text.startswith("@") and ":" in text:  # RFC 5322 §4.4: source routes are ignored
        text = text.partition(":")[2]
    if text[:7].lower() == "mailto:":
        text = text[7:]
    if not text.isprintable() or " " in text:
        quoted, end, rest = text.rpartition('"@') if text.startswith('"') else ("", "", text)
        # In a quoted local part (RFC 5322 §3.4.1) a blank is a character like others.
        kept = "".join(filter(str.isprintable, quoted))
        text = kept + end + "".join(char for char in rest if char.isprintable() and char != " ")
    local, at, domain = text.strip("'").rpartition("@")
    domain = domain.rstrip(".").lower()
    if not (at and local.strip("@") and domain) or len(local) + len(domain) >= ADDRESS_CHARS:
        return ""
    return f"{local}@{domain}"
