"""Complaints in the abuse reporting format: a person called a mail of ours spam (RFC 5965). Pure, total, bounded.

Anybody can write such a report. What it says counts only for the attempt whose signed return path it repeats, and only
who received that mail, or receives mail for them, can know it.
"""

import re
from dataclasses import dataclass
from typing import Final

from leasebox.sending.report_parts import Opened, groups, opened, typed_address

RETURN_PATHS: Final = 20
RECIPIENTS: Final = 100
_KIND_CHARS: Final = 40
# RFC 5965 §7.3, RFC 6430: these two words take a complaint back, all others make one.
_NO_COMPLAINT: Final = frozenset({"not-spam", "auth-failure"})
# As return_path.make writes them; the MAC decides whether they are ours.
_RETURN_PATH: Final = re.compile(r"(?<![a-z0-9+.-])bounce\+[0-9a-z]{26}\.[0-9a-z]{20}(?=@)", re.IGNORECASE)
_RETURNED: Final = ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global")
_KINDS: Final = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a report says. return_paths: local parts that look like ours, unverified, each once; recipients: canonical.

    kind: `abuse`, `fraud`, `virus`, `opt-out`, `other` or what else a reporter writes, in lower case.
    """

    kind: str
    return_paths: tuple[str, ...]
    recipients: tuple[str, ...]


def read(raw: bytes) -> Complaint | None:
    """The complaint in a mail; None for a mail that is none, or that takes one back."""
    mail = opened(raw)
    fields = next(iter(groups(_feedback(mail))), None)
    if fields is None or "feedback-type" not in fields:
        return None
    word = _KINDS.match(fields["feedback-type"][0].strip().lower()[:_KIND_CHARS])
    kind = word[0] if word else "other"
    if kind in _NO_COMPLAINT:
        return None
    named = map(typed_address, fields.get("original-rcpt-to", [])[:RECIPIENTS])
    recipients = dict.fromkeys(one for one in named if one is not None)
    said = " ".join(fields.get("original-mail-from", [])[:RECIPIENTS])
    found = _RETURN_PATH.findall(f"{said}\n{_header_of_ours(mail)}")
    paths = tuple(dict.fromkeys(each.lower() for each in found))
    return Complaint(kind, paths[:RETURN_PATHS], tuple(recipients))


def _feedback(mail: Opened) -> str:
    """RFC 5965 §2: the second part; its label is what makes a mail such a report."""
    text = mail.first("message/feedback-report")
    return text if text or mail.report_type != "feedback-report" else mail.first("text/plain")


def _header_of_ours(mail: Opened) -> str:
    """The header of the mail that is complained of: only there our return path stands."""
    return mail.first(*_RETURNED).lstrip("\n").partition("\n\n")[0]
