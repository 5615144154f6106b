"""A mail that a client hands in, as it may go out (RFC 6409 §6 and §8). Pure, total, linear in the header.

The body stays as the client made it, octet for octet. Of the header, fields that name blind recipients, tell of earlier
journeys or speak for others are dropped, what is missing is added, and what is doubtful is refused, not repaired.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from leasebox.mail.address_list import read_addresses
from leasebox.mail.mime_bounds import Defects
from leasebox.mail.smtp_replies import Reply, reply
from leasebox.sending import fields
from leasebox.sending.report_parts import canonical

HEADER_OCTETS: Final = 256 * 1024
FIELDS: Final = 1_000
PROOF_OCTETS: Final = 4_096
PROOF_FIELD: Final = "x-payment-proof"

NO_HEADER = reply(550, "5.6.0", "The mail does not begin with header fields")
BROKEN_HEADER = reply(550, "5.6.0", "A line of the header is no header field")
HEADER_TOO_BIG = reply(552, "5.3.4", "The header is too big")
DOUBLE_FIELD = reply(550, "5.6.0", "A header field stands twice that may stand once (RFC 5322, section 3.6)")
UTF8_HEADER = reply(550, "5.6.7", "The header holds octets beyond ASCII; encode them (RFC 2047)")
FOREIGN_FROM = reply(550, "5.7.1", "The From field must hold the leased address and no other")

_NAME: Final = re.compile(rb"([!-9;-~]{1,76})[ \t]*:")
_ONCE: Final = frozenset(
    "from sender reply-to to cc bcc message-id in-reply-to references subject date mime-version content-type "
    "content-transfer-encoding".split()
)
# Blind recipients; who else had the mail before; who claims to vouch for it; and who the sender is, which we say.
_DROPPED: Final = frozenset(
    "bcc resent-bcc return-path received received-spf authentication-results delivered-to x-original-to "
    "dkim-signature domainkey-signature arc-seal arc-message-signature arc-authentication-results sender "
    f"{PROOF_FIELD}".split()
)
_RESENT: Final = "resent-"
_WRITTEN: Final = frozenset({"from", "date", "message-id"})
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MESSAGE_ID: Final = re.compile(rb"[ \t]*<[!-;=?-~]{1,400}@[!-;=?-~]{1,400}>[ \t]*\r\n")


@dataclass(frozen=True, slots=True)
class Handed:
    """A mail that may go out. content: whole, CRLF lines. proof: what X-Payment-Proof said.

    to, cc: canonical addresses that the header names; all other recipients are blind.
    """

    content: bytes
    header_message_id: str
    subject: str
    to: frozenset[str]
    cc: frozenset[str]
    proof: str | None


@dataclass(frozen=True, slots=True)
class Seal:
    """What we write into the header. message_id: for a mail without one, angle brackets included.

    The Received line (RFC 5321 §4.4) names neither the client's address nor its name: an agent's place is nobody's
    business. token: what names the mail in our logs.
    """

    address: str
    hostname: str
    protocol: str
    token: str
    message_id: str
    at: datetime


Field = tuple[str, bytes]


def prepare(content: bytes, seal: Seal) -> Handed | Reply:
    """The mail as it goes out, or the reply that refuses it."""
    head, body = _halves(content)
    found = _fields(head)
    if isinstance(found, Reply):
        return found
    fault = _fault(found, seal.address)
    if fault is not None:
        return fault
    kept = [(name, octets) for name, octets in found if name not in _DROPPED and not name.startswith(_RESENT)]
    message_id = _message_id(kept)
    octets = b"".join([_received(seal), *_written(found, message_id or seal.message_id, seal), *_others(kept)])
    return Handed(
        octets + b"\r\n" + body,
        message_id or seal.message_id,
        _value(kept, "subject").decode("ascii", "replace"),
        _named(kept, "to"),
        _named(kept, "cc"),
        _proof(found),
    )


def _halves(content: bytes) -> tuple[bytes, bytes]:
    """Header with its last CRLF, and body; a mail without a body is all header."""
    if content.startswith(b"\r\n"):
        return b"", content[2:]
    end = content.find(b"\r\n\r\n")
    return (content, b"") if end < 0 else (content[: end + 2], content[end + 4 :])


def _fields(head: bytes) -> list[Field] | Reply:
    """Fields with lower-case names, each with all its lines."""
    if len(head) > HEADER_OCTETS:
        return HEADER_TOO_BIG
    found: list[Field] = []
    for line in head.splitlines(keepends=True) if head else []:
        match = _NAME.match(line)
        if line[:1] in (b" ", b"\t") and found:
            if not line.strip():
                return BROKEN_HEADER
            found[-1] = (found[-1][0], found[-1][1] + line)
        elif match is None:
            return BROKEN_HEADER if found else NO_HEADER
        else:
            found.append((match[1].decode("ascii").lower(), line))
    if len(found) > FIELDS:
        return HEADER_TOO_BIG
    return found or NO_HEADER


def _fault(found: Sequence[Field], address: str) -> Reply | None:
    names = [name for name, _ in found if name in _ONCE]
    if len(names) != len(set(names)):
        return DOUBLE_FIELD
    if any(_CONTROL.search(octets) for _, octets in found):
        return BROKEN_HEADER
    if any(not octets.isascii() for _, octets in found):
        return UTF8_HEADER
    senders = _value(found, "from")
    people = read_addresses(senders, "", Defects()) if senders else ()
    is_ours = len(people) == 1 and canonical(people[0].address) == address
    return None if is_ours or not senders.strip() else FOREIGN_FROM


def _value(found: Sequence[Field], name: str) -> bytes:
    """The value of a field that stands once, unfolded; b"" where it does not stand."""
    octets = next((octets for label, octets in found if label == name), b"")
    return octets.partition(b":")[2].replace(b"\r\n", b"").strip()


def _named(found: Sequence[Field], name: str) -> frozenset[str]:
    people = read_addresses(_value(found, name), "", Defects())
    return frozenset(each for each in (canonical(one.address) for one in people if one.address) if each is not None)


def _message_id(found: Sequence[Field]) -> str | None:
    """The client's own Message-ID, if it is one (RFC 5322 §3.6.4)."""
    octets = next((octets.partition(b":")[2] for name, octets in found if name == "message-id"), b"")
    return octets.strip().decode("ascii") if _MESSAGE_ID.fullmatch(octets) else None


def _written(found: Sequence[Field], message_id: str, seal: Seal) -> list[bytes]:
    """The fields that every mail must have. From is written anew, so that all readers find the same author in it."""
    people = read_addresses(_value(found, "from"), "", Defects())
    name = " ".join("".join(char if char.isprintable() else " " for char in people[0].name).split()) if people else ""
    date = next((octets for label, octets in found if label == "date" and octets.partition(b":")[2].strip()), None)
    return [
        fields.tokens("From", fields.mailbox_words(name, seal.address)),
        date or fields.date("Date", seal.at),
        fields.tokens("Message-ID", [message_id]),
    ]


def _others(kept: Sequence[Field]) -> list[bytes]:
    return [octets for name, octets in kept if name not in _WRITTEN]


def _received(seal: Seal) -> bytes:
    moment = fields.date("x", seal.at).decode().removeprefix("x: ")
    return f"Received: by {seal.hostname} with {seal.protocol} id {seal.token};\r\n\t{moment}".encode("ascii")


def _proof(found: Sequence[Field]) -> str | None:
    """A proof may have been folded; it holds no blanks itself."""
    text = b"".join(_value(found, PROOF_FIELD)[:PROOF_OCTETS].split())
    return text.decode("ascii") or None
