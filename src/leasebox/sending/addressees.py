"""Whom a message goes to: one mailbox as a person writes it, read strictly. Pure.

Reading mail forgives; sending must not: what is no plain address is refused, so that a message goes to exactly those
who were named, and a line break in a name never becomes a header field.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from leasebox.sending.one_line import is_one_line
from leasebox.values.addresses import Mailbox, MalformedAddress, canonical_domain

Kind = Literal["to", "cc", "bcc"]
RECIPIENTS = 100
"""Recipients of one message: what one SMTP transaction takes at least (RFC 5321 §4.5.3.1.8) and one proof can pay."""
NAME_CHARS = 200
_PATH_OCTETS = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
_TEXT_CHARS = 1_000
_ANGLED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>\Z")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\Z')
_PHRASE_BREAKERS = re.compile(r'["\\()\[\]:;@,]')
_PAIR = re.compile(r"\\(.)")


class UnreadableAddress(ValueError):
    """The text is no single address that mail can be sent to; its message says why and never repeats the text."""


class Addressee(msgspec.Struct, frozen=True):
    """One recipient. address: as it goes on the wire, its local part spelled as written, its domain in A-labels.

    key: the same in one canonical spelling, tag included, by which addresses are compared and suppressed. mailbox: the
    canonical address without the tag, by which one of ours is found. destination: its domain.
    """

    name: str
    address: str
    key: str
    mailbox: str
    destination: str


def read_addressee(text: str) -> Addressee:
    """`a@b.example`, `Name <a@b.example>` or `"Name, quoted" <a@b.example>`; IDN domains become A-labels.

    Local parts are ASCII: mail for others needs SMTPUTF8 (RFC 6531) on every server on its way, which few have, so it
    is refused here rather than returned tomorrow. Raises UnreadableAddress.
    """
    if len(text) > _TEXT_CHARS:
        raise UnreadableAddress("is too long")
    if not is_one_line(text):
        raise UnreadableAddress("holds a line break or another control character")
    angled = _ANGLED.match(text.strip())
    name, address = (_name(angled["name"].strip()), angled["address"]) if angled else ("", text)
    return _addressee(name, address.strip())


def unique(named: Mapping[Kind, Iterable[Addressee]]) -> dict[Kind, tuple[Addressee, ...]]:
    """Each recipient once, under the first kind that names it (to, cc, bcc)."""
    seen: set[str] = set()
    kept: dict[Kind, tuple[Addressee, ...]] = {}
    for kind in ("to", "cc", "bcc"):
        fresh: dict[str, Addressee] = {}
        for each in named.get(kind, ()):
            if each.key not in seen:
                seen.add(each.key)
                fresh[each.key] = each
        kept[kind] = tuple(fresh.values())
    return kept


def _name(text: str) -> str:
    quoted = _QUOTED.match(text)
    if quoted is None and _PHRASE_BREAKERS.search(text):
        raise UnreadableAddress('needs its name in "quotes", one address in each string')
    name = _PAIR.sub(r"\1", quoted[1]) if quoted else text
    if len(name) > NAME_CHARS:
        raise UnreadableAddress(f"has a name of more than {NAME_CHARS} characters")
    return " ".join(name.split())


def _addressee(name: str, address: str) -> Addressee:
    local, _, domain = address.rpartition("@")
    if not address.isascii() and not local.isascii():
        raise UnreadableAddress("has a local part beyond ASCII, which most mail servers do not take")
    if "<" in local or ">" in local:
        # Sound between quotes (RFC 5321 §4.1.2), and yet the end of the path to servers that read it carelessly.
        raise UnreadableAddress("has an angle bracket in its local part")
    try:
        mailbox, destination = Mailbox.parse(address), canonical_domain(domain)
    except MalformedAddress as fault:
        raise UnreadableAddress(f"is no address ({fault})") from None
    if mailbox.is_literal or "." not in destination:
        raise UnreadableAddress("must have a domain name, like name@example.com")
    wire = f"{_spelled(local)}@{destination}"
    if len(wire) > _PATH_OCTETS:
        raise UnreadableAddress("is too long")
    return Addressee(name, wire, str(mailbox), mailbox.address, destination)


def _spelled(local: str) -> str:
    """A local part that was read as sound, in its own case, quoted with no more escapes than needed."""
    if not local.startswith('"'):
        return local
    inner = _PAIR.sub(r"\1", local[1:-1]).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
