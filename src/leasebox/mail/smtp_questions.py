"""What an SMTP session offers its client, and what it must ask of the house before it can go on."""

from dataclasses import dataclass, field

from leasebox.mail.smtp_commands import MailCommand
from leasebox.mail.smtp_data import Bounds
from leasebox.values.addresses import Mailbox
from leasebox.values.secret import Secret


@dataclass(frozen=True, slots=True)
class Offer:
    """What a door offers and how much it bears.

    domain: completes `<postmaster>`. extensions: keywords of EHLO besides SIZE. recipients: most in one mail.
    errors: commands that make no sense, in one session. commands: all since the last mail. One more ends the session.
    """

    hostname: str
    domain: str
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING")
    bounds: Bounds = field(default_factory=Bounds)
    recipients: int = 100
    errors: int = 10
    commands: int = 1_000


@dataclass(frozen=True, slots=True)
class SenderAsked:
    """MAIL FROM is well formed: may this client send one more mail?"""

    mail: MailCommand


@dataclass(frozen=True, slots=True)
class RecipientAsked:
    """RCPT TO is well formed: is mail for this mailbox taken? size: octets, as MAIL FROM declared; 0 if not."""

    mailbox: Mailbox
    size: int = 0


@dataclass(frozen=True, slots=True)
class ContentReceived:
    """A whole mail is here, judged sound: store it, then settle with the reply. `protocol` as in RFC 3848."""

    mail: MailCommand
    recipients: tuple[Mailbox, ...]
    content: bytes
    helo: str
    protocol: str
    tls: str | None


@dataclass(frozen=True, slots=True)
class TlsAsked:
    """220 is said: write the output, take up TLS, call `tls_started`. Octets received before that are thrown away."""


@dataclass(slots=True)
class LoginAsked:
    """AUTH is complete (RFC 4954): are these somebody's credentials? Settled with 235, `granted` says whose.

    login: as the client wrote it.
    """

    login: str
    password: Secret
    granted: object | None = None


@dataclass(frozen=True, slots=True)
class StandingAsked:
    """Somebody who has signed in says another command: may he still? Any reply but a positive one ends the session."""

    line: bytes


Question = SenderAsked | RecipientAsked | ContentReceived | TlsAsked | LoginAsked | StandingAsked
