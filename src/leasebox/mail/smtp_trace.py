"""The header lines that we put above each mail: Return-Path and Received (RFC 5321 §4.4)."""

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import NamedTuple

from leasebox.mail.smtp_questions import ContentReceived

# A name goes into the header as the client gave it only if it can be nothing but a domain or an address literal.
_PLAIN_NAME = re.compile(r"\[?[A-Za-z0-9._:-]+\]?")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")


class Arrival(NamedTuple):
    """Where and when a mail came in. `token` names it in our logs; `client_ip` is an address, not a claim."""

    hostname: str
    client_ip: str
    token: str
    at: datetime


def trace(received: ContentReceived, arrival: Arrival) -> bytes:
    """Return-Path and Received for one mail, CRLF included.

    The recipient is named only if it is the only one: a blind copy must not learn of, nor show, the others.
    """
    tls = f"\r\n\t({received.tls})" if received.tls else ""
    only = f"\r\n\tfor <{received.recipients[0]}>" if len(received.recipients) == 1 else ""
    return (
        f"Return-Path: <{received.mail.sender}>\r\n"
        f"Received: from {_name(received.helo)} ({_literal(arrival.client_ip)})\r\n"
        f"\tby {arrival.hostname} with {received.protocol} id {arrival.token}{tls}{only};\r\n"
        f"\t{_date(arrival.at.replace(microsecond=0))}\r\n"
    ).encode()


def _name(helo: str) -> str:
    return helo if _PLAIN_NAME.fullmatch(helo) else _UNSAFE.sub("x", helo)


def _literal(address: str) -> str:
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


@lru_cache(maxsize=16)
def _date(second: datetime) -> str:
    return format_datetime(second.astimezone(UTC))
