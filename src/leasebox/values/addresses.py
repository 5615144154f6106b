"""Mail addresses as types, in one canonical spelling, so that equal mailboxes compare equal (RFC 5321 §4.1.2)."""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import idna

MAX_DOMAIN_OCTETS = 253
MAX_LOCAL_OCTETS = 255

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])+"')
_QUOTED_PAIR = re.compile(r"\\(.)")
# Underscores are no part of RFC 1123 host names, yet real senders' envelope domains carry them.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


class MalformedAddress(ValueError):
    """The text is no address; its message says which part is wrong and never repeats the text."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address in canonical form: unquoted, NFC, lower case, domain as A-labels (RFC 5890) or an address literal.

    `name+tag@domain` is delivered to `name@domain`: the tag is what follows the first `+` that is not the first
    character. It never takes part in finding the mailbox, only in telling the lessee what the sender wrote. An empty
    tag (`name+@domain`) is the same as none.
    """

    local: str
    domain: str
    tag: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an addr-spec without comments or folding. Linear in its length. Raises MalformedAddress.

        A local part may have up to 255 octets: RFC 5321 §4.5.3.1.1 asks for 64 at least, and VERP senders pass that.
        """
        local, domain = _split(text)
        return cls._of(_canonical_local(local), canonical_domain(domain))

    @classmethod
    def at(cls, name: str, domain: str) -> Self:
        """The mailbox of a bare local part at a domain. Raises MalformedAddress."""
        return cls._of(_canonical_local(name), canonical_domain(domain))

    @classmethod
    def _of(cls, local: str, domain: str) -> Self:
        name, _, tag = local[1:].partition("+")
        return cls(local[0] + name, domain, tag)

    @property
    def address(self) -> str:
        """Where mail is delivered: without the tag."""
        return f"{_spell(self.local)}@{self.domain}"

    @property
    def is_literal(self) -> bool:
        """Whether the domain is an address literal such as `[192.0.2.1]` (RFC 5321 §4.1.3)."""
        return self.domain.startswith("[")

    def __str__(self) -> str:
        local = f"{self.local}+{self.tag}" if self.tag else self.local
        return f"{_spell(local)}@{self.domain}"


def canonical_domain(text: str) -> str:
    """A domain in lower-case A-labels (UTS 46 mapping, IDNA 2008), or a canonical address literal.

    Raises MalformedAddress for empty or overlong labels, a trailing dot, or characters outside the grammar.
    """
    if text.startswith("["):
        return _canonical_literal(text)
    if len(text) > MAX_DOMAIN_OCTETS:
        raise MalformedAddress("domain too long")
    domain = text.lower() if text.isascii() else _a_labels(text)
    if len(domain) > MAX_DOMAIN_OCTETS or not all(map(_LABEL.fullmatch, domain.split("."))):
        raise MalformedAddress("malformed domain")
    return domain


def _split(text: str) -> tuple[str, str]:
    """Local part and domain as written; an `@` inside a quoted local part separates nothing."""
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise MalformedAddress("an address is local-part@domain")
    return local, domain


def _canonical_local(text: str) -> str:
    if len(text.encode(errors="replace")) > MAX_LOCAL_OCTETS or not text.isprintable():
        raise MalformedAddress("malformed local part")
    if text.startswith('"'):
        if not _QUOTED.fullmatch(text):
            raise MalformedAddress("malformed quoted local part")
        text = _QUOTED_PAIR.sub(r"\1", text[1:-1])
    elif not _DOT_STRING.fullmatch(text):
        raise MalformedAddress("malformed local part")
    # Small letters compose where capitals do not (h with a line below), so normalise on both sides of lower().
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


@lru_cache(maxsize=1_024)
def _spell(local: str) -> str:
    """The local part as it goes on the wire: quoted only where it must be."""
    if _DOT_STRING.fullmatch(local):
        return local
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _a_labels(text: str) -> str:
    try:
        return idna.encode(text, uts46=True).decode("ascii").lower()
    except UnicodeError as fault:  # idna.IDNAError is one
        raise MalformedAddress("malformed international domain") from fault


def _canonical_literal(text: str) -> str:
    inner = text[1:-1] if text.endswith("]") else ""
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:]).compressed}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError as fault:
        raise MalformedAddress("malformed address literal") from fault
