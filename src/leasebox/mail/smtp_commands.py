"""SMTP commands with arguments, read from their bytes: a value, or the reply that refuses them (RFC 5321 §4.1)."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_replies import Reply
from leasebox.values.addresses import Mailbox, MalformedAddress

Charset = Literal["ascii", "utf-8"]

# One pass, no nested repetition: hostile lines (at most 1,024 octets) cost linear time.
_PATH = rb' *<((?:"(?:[^"\\]|\\.)*"|[^"<>\s])*)>(?: +(.*))?'
_FROM = re.compile(rb"FROM:" + _PATH, re.IGNORECASE)
_TO = re.compile(rb"TO:" + _PATH, re.IGNORECASE)
_NAME = re.compile(rb"[!-~]{1,255}")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
_CHUNK = re.compile(rb"([0-9]{1,20})( +LAST)?", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class MailCommand:
    """A well-formed MAIL FROM. `sender` is as the client wrote it, without source route; empty for the null sender."""

    sender: str
    size: int
    charset: Charset


@dataclass(frozen=True, slots=True)
class ChunkCommand:
    """A well-formed BDAT (RFC 3030): how many octets follow, and whether they end the mail."""

    octets: int
    last: bool


def parse_name(argument: bytes) -> str | Reply:
    """The name given to EHLO or HELO: any visible ASCII up to 255 octets, since real clients stray from the grammar."""
    return argument.decode("ascii") if _NAME.fullmatch(argument) else say.NEEDS_NAME


def parse_mail(argument: bytes, ignored: Collection[str] = ()) -> MailCommand | Reply:
    """What follows `MAIL `: reverse path, then SIZE, BODY and SMTPUTF8 (RFC 1870, 6152, 6531); all else is 555.

    ignored: further keywords that may stand there with any value.
    """
    match = _FROM.fullmatch(argument)
    if match is None:
        return say.BAD_SENDER
    parameters = _parameters(match[2])
    if isinstance(parameters, Reply):
        return parameters
    charset: Charset = "utf-8" if "SMTPUTF8" in parameters else "ascii"
    fault = _judge_parameters({word: value for word, value in parameters.items() if word not in ignored})
    if fault is not None:
        return fault
    text = _text(match[1], charset, say.BAD_SENDER)
    if isinstance(text, Reply):
        return text
    sender = _without_route(text)
    if sender:
        try:
            Mailbox.parse(sender)
        except MalformedAddress:
            return say.BAD_SENDER
    return MailCommand(sender, int(parameters.get("SIZE", "0")), charset)


def parse_rcpt(argument: bytes, charset: Charset, domain: str) -> Mailbox | Reply:
    """What follows `RCPT `: a forward path. A bare `<postmaster>` is completed with `domain` (RFC 5321 §4.1.1.3)."""
    match = _TO.fullmatch(argument)
    if match is None:
        return say.BAD_RECIPIENT
    if match[2]:
        return say.UNKNOWN_PARAMETER
    text = _text(match[1], charset, say.BAD_RECIPIENT)
    if isinstance(text, Reply):
        return text
    if text.lower() == "postmaster":
        return Mailbox.at(text, domain)
    try:
        mailbox = Mailbox.parse(_without_route(text))
    except MalformedAddress:
        return say.BAD_RECIPIENT
    return say.NOT_SERVED if mailbox.is_literal else mailbox


def parse_chunk(argument: bytes) -> ChunkCommand | Reply:
    """What follows `BDAT `: a count of octets and perhaps LAST."""
    match = _CHUNK.fullmatch(argument)
    return say.BAD_CHUNK if match is None else ChunkCommand(int(match[1]), match[2] is not None)


def _text(octets: bytes, charset: Charset, malformed: Reply) -> str | Reply:
    if octets.isascii():
        return octets.decode("ascii")
    if charset == "ascii":
        return say.NEEDS_SMTPUTF8
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return malformed


def _without_route(path: str) -> str:
    """Drop a source route `@a,@b:`, which RFC 5321 §4.1.1.3 has us accept and ignore."""
    return path.partition(":")[2] if path.startswith("@") else path


def _parameters(octets: bytes | None) -> dict[str, str] | Reply:
    """Parameters by upper-case keyword; the same keyword twice is refused."""
    found: dict[str, str] = {}
    for word in (octets or b"").decode("ascii", "replace").split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in found:
            return say.BAD_PARAMETER
        found[match[1].upper()] = match[2] or ""
    return found


def _judge_parameters(parameters: dict[str, str]) -> Reply | None:
    for keyword, value in parameters.items():
        if keyword == "SIZE":
            sound = _DIGITS.fullmatch(value) is not None
        elif keyword == "BODY":
            sound = value.upper() in {"7BIT", "8BITMIME"}
        elif keyword == "SMTPUTF8":
            sound = not value
        else:
            return say.UNKNOWN_PARAMETER
        if not sound:
            return say.BAD_PARAMETER
    return None
