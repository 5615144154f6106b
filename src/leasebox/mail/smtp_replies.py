"""Every reply that the SMTP side gives, with its enhanced code (RFC 5321 §4.2, RFC 2034, RFC 3463)."""

from enum import Enum
from typing import NamedTuple

MAX_REPLY_IDS = 8


class Reply(NamedTuple):
    """One reply: its code and its whole wire form, CRLF included. A client's own words never stand in it."""

    code: int
    wire: bytes

    @property
    def positive(self) -> bool:
        """Whether the command took effect (2yz)."""
        return self.code < 300


def reply(code: int, status: str, text: str) -> Reply:
    """Build a one-line reply; `status` is the enhanced code, empty where RFC 2034 §4 allows none."""
    middle = f"{status} {text}" if status else text
    return Reply(code, f"{code} {middle}\r\n".encode("ascii"))


OK = reply(250, "2.0.0", "OK")
SENDER_OK = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient OK")
CHUNK_OK = reply(250, "2.0.0", "Chunk OK")
SEND_CONTENT = reply(354, "", "Send the mail; end it with CRLF.CRLF")
TLS_READY = reply(220, "2.0.0", "Ready to start TLS")
HELP = reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY STARTTLS HELP QUIT (RFC 5321)")
CANNOT_VERIFY = reply(252, "2.0.0", "Not verified here; send RCPT TO to learn more")
BYE = reply(221, "2.0.0", "Bye")

CLOSING = reply(421, "4.3.2", "Service closing; come back later")
TIMED_OUT = reply(421, "4.4.2", "Waited too long for you")
TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors")
TOO_MANY_COMMANDS = reply(421, "4.7.0", "Too many commands without a mail")
TOO_MANY_CONNECTIONS = reply(421, "4.7.0", "Too many connections from your address")
SERVER_FULL = reply(421, "4.3.2", "Too many connections; come back later")
NOT_SMTP = reply(421, "4.7.0", "This is SMTP, and that was not")
LINE_FLOOD = reply(421, "4.7.0", "Line without an end")

LOGIN_UNAVAILABLE = reply(454, "4.7.0", "Cannot check credentials now; try again later")

RATE_LIMITED = reply(450, "4.7.1", "Too many mails from your address; slow down")
NO_MEMORY = reply(452, "4.3.1", "Short of memory; try again later")
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients; send the rest as another mail")

UNKNOWN_COMMAND = reply(500, "5.5.2", "Command not recognised")
LINE_TOO_LONG = reply(500, "5.5.2", "Command line too long")
BARE_EOL = reply(500, "5.5.2", "Lines end with CRLF and with nothing else")
CONTROL_CHARACTER = reply(500, "5.5.2", "Control character in a command")
NO_ARGUMENT = reply(501, "5.5.4", "This command takes no argument")
NEEDS_NAME = reply(501, "5.5.4", "Give your domain or address literal")
NEEDS_ARGUMENT = reply(501, "5.5.4", "This command needs an argument")
BAD_SENDER = reply(501, "5.1.7", "Write MAIL FROM:<local-part@domain>")
BAD_RECIPIENT = reply(501, "5.1.3", "Write RCPT TO:<local-part@domain>")
BAD_PARAMETER = reply(501, "5.5.4", "Malformed parameter")
BAD_CHUNK = reply(501, "5.5.4", "Write BDAT octets [LAST]")
NOT_IMPLEMENTED = reply(502, "5.5.1", "Command not implemented")
HELLO_FIRST = reply(503, "5.5.1", "Send EHLO first")
SENDER_FIRST = reply(503, "5.5.1", "Send MAIL FROM first")
NESTED_MAIL = reply(503, "5.5.1", "A mail is already under way")
CHUNKS_UNDER_WAY = reply(503, "5.5.1", "Only BDAT or RSET may follow BDAT")
TLS_ACTIVE = reply(503, "5.5.1", "TLS is already active")
NO_RECIPIENTS = reply(554, "5.5.1", "No valid recipients")
UNKNOWN_PARAMETER = reply(555, "5.5.4", "Parameter not recognised")

SENDER_DENIED = reply(550, "5.7.1", "Mail from this domain is not taken here")
NOT_SERVED = reply(550, "5.1.2", "No mail is served at address literals")
BARE_EOL_IN_CONTENT = reply(550, "5.6.11", "Bare CR or LF in the mail")
LONG_LINE_IN_CONTENT = reply(550, "5.6.0", "A line of the mail is too long")
TOO_BIG = reply(552, "5.3.4", "Mail too big")
NEEDS_SMTPUTF8 = reply(553, "5.6.7", "Non-ASCII addresses need SMTPUTF8")
LOOP = reply(554, "5.4.6", "Too many hops; the mail goes round in circles")


class RcptVerdict(Enum):
    """What the house says to one RCPT TO. A mailbox that is paused may wait (4yz), one that ended may not (5yz)."""

    ACCEPT = RECIPIENT_OK
    UNKNOWN = reply(550, "5.1.1", "No such mailbox here")
    FOREIGN = reply(550, "5.7.1", "No relaying here")
    ENDED = reply(550, "5.2.1", "This mailbox has ended")
    FROZEN = reply(550, "5.2.1", "This mailbox is disabled")
    PAUSED = reply(450, "4.2.1", "This mailbox is paused; try again later")
    OVER_QUOTA = reply(452, "4.2.2", "This mailbox has no room for the mail")
    TOO_BIG = reply(552, "5.3.4", "Mail too big for this mailbox")
    UNAVAILABLE = reply(451, "4.3.0", "Cannot look that mailbox up now; try again later")


class MailRefusal(Enum):
    """Why a whole mail was not stored. The lease may have changed since RCPT, so RCPT's refusals come back here."""

    UNKNOWN = reply(550, "5.1.1", "No such mailbox here any more")
    ENDED = reply(550, "5.2.1", "The mailbox has ended")
    FROZEN = reply(550, "5.2.1", "The mailbox is disabled")
    PAUSED = reply(450, "4.2.1", "The mailbox is paused; try again later")
    OVER_QUOTA = reply(452, "4.2.2", "The mailbox has no room for the mail")
    TOO_BIG = reply(552, "5.3.4", "Mail too big for this mailbox")
    UNAVAILABLE = reply(451, "4.3.0", "Cannot store the mail now; try again later")
    FAILED = reply(451, "4.3.0", "Something failed here; try again later")
    DISK_FULL = reply(452, "4.3.1", "No room to store the mail; try again later")


def greeting(hostname: str) -> Reply:
    """The opening reply (RFC 5321 §4.3.1)."""
    return reply(220, "", f"{hostname} ESMTP leasebox")


def hello(hostname: str, capabilities: tuple[str, ...]) -> Reply:
    """EHLO's answer, one capability a line (RFC 5321 §4.1.1.1); HELO's when there are none."""
    lines = [hostname, *capabilities]
    marks = ["-"] * (len(lines) - 1) + [" "]
    return Reply(250, "".join(f"250{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode("ascii"))


def stored(message_ids: tuple[str, ...]) -> Reply:
    """The 250 of a stored mail; names at most eight ids, to stay within a reply line of 512 octets (§4.5.3.1.5)."""
    return reply(250, "2.0.0", " ".join(("Stored", *message_ids[:MAX_REPLY_IDS])))
