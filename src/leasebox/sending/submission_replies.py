"""What the submission door says when it refuses: the error tree as SMTP replies (RFC 3463, RFC 4954 §6). Pure."""

import re
from typing import Final

from leasebox.leases.logins import Standing
from leasebox.mail.smtp_replies import Reply, reply
from leasebox.sending.errors import MailboxFull
from leasebox.values.errors import Kind, LeaseboxError

# RFC 5321 §4.5.3.1.5: 512 octets, CRLF and codes among them.
TEXT_CHARS: Final = 480

WRONG_CREDENTIALS = reply(535, "5.7.8", "Wrong address or password")
TOO_MANY_FAILURES = reply(421, "4.7.0", "Too many failed sign-ins from your address; come back later")
BUSY = reply(454, "4.7.0", "Too many sign-ins at once; try again")
REVOKED = reply(421, "4.7.0", "These credentials are good no more; sign in anew")
NOT_YOUR_ADDRESS = reply(553, "5.7.1", "MAIL FROM must be the leased address that you signed in with")
NOBODY_SENDS = reply(553, "5.7.1", "The null sender is for bounces; send as the leased address")
SUPPRESSED = reply(
    550, "5.1.1", "Suppressed for your tenant after a bounce or complaint; DELETE /v2/suppressions lifts it"
)
DENIED_DOMAIN = reply(550, "5.1.2", "This instance sends no mail to that domain")
UNSENDABLE = reply(550, "5.1.3", "Recipients need an ASCII local part and a domain with a dot")
CHANGED = reply(451, "4.1.0", "A recipient was refused meanwhile; send again to learn which")
SIGN_IN: Final = {
    Standing.GONE: WRONG_CREDENTIALS,
    Standing.INACTIVE: reply(525, "5.7.13", "The tenant of this mailbox is not active"),
    Standing.FROZEN: reply(525, "5.7.13", "The mailbox was frozen by an operator"),
    Standing.PAUSED: reply(454, "4.7.0", "The mailbox is paused; resume it, then sign in"),
}
_BY_CODE: Final = {
    "mailbox_paused": (450, "4.2.1"),
    "mailbox_frozen": (550, "5.2.1"),
    "lease_ended": (550, "5.2.1"),
    "payment_required": (550, "5.7.1"),
    "invalid_payment_proof": (550, "5.7.1"),
}
_UNFIT: Final = re.compile(r"[^ -~]+")


def refusal(error: LeaseboxError) -> Reply:
    """A refused mail's reply: what happened and what to do. 4yz where the same mail may pass later, else 5yz."""
    code, status = _BY_CODE.get(error.code, (550, "5.7.1"))
    if isinstance(error, MailboxFull):
        code, status = 452, "4.2.2"
    elif error.kind is Kind.UNAVAILABLE:
        code, status = 451, "4.3.0"
    elif error.kind is Kind.TOO_MANY_REQUESTS and error.retry_after_s is not None:
        code, status = 450, "4.7.1"
    wait = f" Retry in {error.retry_after_s} s." if error.retry_after_s is not None else ""
    text = _UNFIT.sub(" ", f"{error.message} {error.fix}{wait}")
    return reply(code, status, text[:TEXT_CHARS].rstrip())


def queued(attempt_id: object) -> Reply:
    """The 250 of a mail that is in the queue, committed."""
    return reply(250, "2.0.0", f"Queued as {attempt_id}")
