"""The notice to an author that mail of his could not be handed over (RFC 3464, RFC 6522). Pure."""

import re
from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Final

import msgspec

from leasebox.sending.transport_reply import Reply
from leasebox.values.addresses import Mailbox

HEADER_BYTES: Final = 32 * 1024
"""So much of the original's header goes back, in whole lines."""
_REPORT: Final = re.compile(rb"^content-type:\s*multipart/report\b", re.IGNORECASE | re.MULTILINE)
_UNFIT: Final = re.compile(r"[^ -~]")


class Undelivered(msgspec.Struct, frozen=True):
    """A recipient who did not get it, and why. remote: the server that said so, if one was spoken to."""

    address: str
    last: Reply
    remote: str | None


class Occasion(msgspec.Struct, frozen=True):
    """What the notice is about. ours: the domain that it comes from; token: its unique part, letters and digits."""

    author: str
    ours: str
    token: str
    handed_in_at: datetime
    header_message_id: str


def is_report(content: bytes) -> bool:
    """Whether a mail is itself a notice or receipt (RFC 6522): nobody is told of its fate by mail. Whoever has another
    one sent by a machine hears of it: our notice stays here and has no sender, so no circle begins with it."""
    return _REPORT.search(_header(content)) is not None


def notice(occasion: Occasion, undelivered: Sequence[Undelivered], content: bytes, at: datetime) -> bytes:
    """The notice as a mail, its lines ending with CRLF; it goes out with the null sender."""
    edge = f"=_{occasion.token}"
    original = _returned(content)
    subject = "Undelivered mail: " + ", ".join(each.address for each in undelivered[:3])
    lines = [
        f"From: Mail delivery <postmaster@{occasion.ours}>",
        f"To: {_plain(_spelled(occasion.author))}",
        f"Subject: {_plain(subject)[:200]}",
        f"Date: {format_datetime(at)}",
        f"Message-ID: <{occasion.token}.notice@{occasion.ours}>",
        f"In-Reply-To: {_plain(occasion.header_message_id)}",
        f"References: {_plain(occasion.header_message_id)}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{edge}"',
        "",
        f"--{edge}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *_words(undelivered),
        "",
        f"--{edge}",
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: dns; {occasion.ours}",
        f"Arrival-Date: {format_datetime(occasion.handed_in_at)}",
        *(line for each in undelivered for line in ["", *_status(each, at)]),
        "",
        f"--{edge}",
        "Content-Type: text/rfc822-headers",
        *(["Content-Transfer-Encoding: 8bit"] if not original.isascii() else []),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("ascii") + original + f"\r\n--{edge}--\r\n".encode("ascii")


def _words(undelivered: Sequence[Undelivered]) -> list[str]:
    lines = ["Your mail could not be delivered to these recipients, and is not tried again:", ""]
    for each in undelivered:
        lines += [f"  {_plain(each.address)}", f"    {_plain(str(each.last)) or 'no reason was given'}"]
    return lines


def _status(each: Undelivered, at: datetime) -> list[str]:
    """The fields of one recipient (RFC 3464 §2.3)."""
    kind = "utf-8" if not each.address.isascii() else "rfc822"  # RFC 6533 §3
    lines = [f"Final-Recipient: {kind}; {_plain(each.address)}", "Action: failed", f"Status: {_failed(each.last)}"]
    if each.remote is not None:
        lines.append(f"Remote-MTA: dns; {_plain(each.remote.partition(' ')[0].partition(':')[0])}")
    if each.last.code is not None:
        lines.append(f"Diagnostic-Code: smtp; {_plain(str(each.last))}")
    return [*lines, f"Last-Attempt-Date: {format_datetime(at)}"]


def _failed(last: Reply) -> str:
    """A failure's status begins with 5, or with 4 where it was given up after a while (RFC 3463 §3.5: 4.4.7)."""
    return last.status if last.status[0] in "45" and last.status != "4.0.0" else "4.4.7"


def _returned(content: bytes) -> bytes:
    head = _header(content)
    return head if len(head) <= HEADER_BYTES else head[: head.rfind(b"\r\n", 0, HEADER_BYTES) + 2]


def _header(content: bytes) -> bytes:
    head, end, _ = content.partition(b"\r\n\r\n")
    return head + b"\r\n" if end or not content.endswith(b"\r\n") else content


def _spelled(address: str) -> str:
    return str(Mailbox.parse(address))


def _plain(text: str) -> str:
    return _UNFIT.sub("?", text)
