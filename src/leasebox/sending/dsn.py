"""Delivery status notifications: what became of which recipient (RFC 3464, RFC 6522, and the odd ones). Pure, total.

Whatever the bytes, there is an answer: one report for each recipient that a mail tells of, none for a mail that is no
notification. Everything in a report comes from a stranger.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from leasebox.mail.address_list import read_addresses
from leasebox.mail.mime import parse
from leasebox.mail.mime_bounds import Defects
from leasebox.sending.dsn_text import Said, read_text
from leasebox.sending.report_parts import READ_OCTETS, Opened, canonical, groups, opened, typed_address

DIAGNOSTIC_CHARS: Final = 500
REPORTS: Final = 200
_STATUS_TYPES: Final = ("message/delivery-status", "message/global-delivery-status")
_STATUS: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?![.\d])")
_INSIDE: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![.\d])")
_MACHINES: Final = re.compile(
    r"(mailer-?daemon|postmaster|mail-?delivery|mdaemon|mail.?system|no-?reply.*bounce)", re.I
)
_TYPED: Final = re.compile(r"[A-Za-z0-9-]{1,30};\s*")


class Outcome(StrEnum):
    """What a notification says of a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class Report:
    """What one recipient's part says.

    recipient: as it was known where it failed; original: as we wrote it, where that is told. Both canonical; None where
    a notification names nobody. status: RFC 3463's code, such as `5.1.1`; None where none is given or can be inferred.
    """

    outcome: Outcome
    recipient: str | None
    original: str | None
    status: str | None
    diagnostic: str


def read(raw: bytes) -> tuple[Report, ...]:
    """All reports of a mail, at most REPORTS, each recipient once."""
    mail = opened(raw)
    found = _standard(mail) or ([] if _is_answer(mail) else _odd(mail, raw))
    each: dict[tuple[str | None, Outcome], Report] = {}
    for report in found:
        each.setdefault((report.recipient, report.outcome), report)
    return tuple(each.values())[:REPORTS]


def _standard(mail: Opened) -> list[Report]:
    """RFC 3464's part; also where its label got lost on the way."""
    text = mail.first(*_STATUS_TYPES) or next((leaf.text for leaf in mail.leaves if _looks_like_status(leaf.text)), "")
    return [report for group in groups(text) if (report := _of_group(group)) is not None]


def _looks_like_status(text: str) -> bool:
    lower = text.lower()
    return "\nfinal-recipient:" in f"\n{lower}" and "\naction:" in lower


def _of_group(group: dict[str, list[str]]) -> Report | None:
    """One recipient's fields; None for the fields about the message, and for an action that says nothing."""
    final, original = (group.get(name, [""])[0] for name in ("final-recipient", "original-recipient"))
    if not final and not original:
        return None
    diagnostic = _tidy(_TYPED.sub("", group.get("diagnostic-code", [""])[0], count=1))
    status = _status(group.get("status", [""])[0], diagnostic)
    outcome = _outcome(group.get("action", [""])[0], status)
    if outcome is None:
        return None
    return Report(outcome, typed_address(final or original), typed_address(original), status, diagnostic)


def _outcome(action: str, status: str | None) -> Outcome | None:
    word = action.strip().lower().partition(" ")[0].rstrip(";,.")
    if word in Outcome.__members__.values():
        return Outcome(word)
    return {"5": Outcome.FAILED, "4": Outcome.DELAYED, "2": Outcome.DELIVERED}.get((status or " ")[0])


def _status(text: str, diagnostic: str) -> str | None:
    """The status; where it is as vague as `5.0.0`, what the other server said is better."""
    match = _STATUS.match(text.strip())
    status = match[0] if match else None
    if status is None or status.endswith(".0.0"):
        inside = _INSIDE.search(diagnostic)
        if inside is not None and (status is None or inside[1][0] == status[0]):
            return inside[1]
    return status


def _is_answer(mail: Opened) -> bool:
    """A machine's answer on a person's behalf: receipts, out of office (RFC 3834 §5; Exim calls its bounces that)."""
    word = mail.fields.first("auto-submitted").strip().lower()
    is_reply = word.startswith(b"auto-replied") and not _names_a_machine(mail)
    return is_reply or mail.report_type == "disposition-notification"


def _odd(mail: Opened, raw: bytes) -> list[Report]:
    """A notification that only people are meant to read, if it is one."""
    named = [one for one in map(canonical, _failed_recipients(mail)) if one is not None]
    if not named and not _is_from_a_machine(mail):
        return []
    said = read_text(parse(raw[:READ_OCTETS]).text)
    reports = [_of_text(one) for one in said]
    if not named:
        return reports
    # Exim and others name in the header who failed; the text tells why, and whether for good.
    outcome = reports[0].outcome if reports else Outcome.FAILED
    told = {report.recipient: report for report in reports}
    why = reports[0] if len(named) == len(reports) == 1 else Report(outcome, None, None, None, "")
    return [told.get(one) or replace(why, recipient=one) for one in named]


def _failed_recipients(mail: Opened) -> list[str]:
    values = mail.fields.every("x-failed-recipients")
    return [one.address for value in values for one in read_addresses(value, "", Defects())]


def _is_from_a_machine(mail: Opened) -> bool:
    """The null sender, or a From that only machines use. Our own Return-Path is the first field."""
    return mail.fields.first("return-path").strip() == b"<>" or _names_a_machine(mail)


def _names_a_machine(mail: Opened) -> bool:
    senders = read_addresses(mail.fields.first("from"), "", Defects())
    return any(_MACHINES.search(f"{one.name} {one.address.partition('@')[0]}"[:200]) for one in senders)


def _of_text(said: Said) -> Report:
    return Report(Outcome(said.outcome), said.address, None, said.status, _tidy(said.diagnostic))


def _tidy(text: str) -> str:
    return " ".join(text.split())[:DIAGNOSTIC_CHARS]
