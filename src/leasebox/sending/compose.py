"""A draft as the octets that go out (RFC 5322, RFC 2045–2049, RFC 2183, RFC 2387). Pure; CPU-bound where it is large.

All of it is 7-bit, so that no relay has to rewrite it and its signature holds. Blind copies are not named in it.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from leasebox.mail import mime
from leasebox.mail.extracted import new_part
from leasebox.mail.html import read_html
from leasebox.mail.model import FreshMessage
from leasebox.mail.parse_worker import NOTHING_FOUND
from leasebox.mail.service import UNTOLD, fresh_message
from leasebox.sending import fields
from leasebox.sending.draft import Attached, Draft, is_structured
from leasebox.sending.one_line import as_one_line
from leasebox.values.ids import SendAttemptId

LARGE_OCTETS = 64 * 1024
"""Above this, composing and reading is work for a thread."""
_MIME_LINE = 998
_BASE64_LINE = 76
_LINE_ENDS = re.compile("\r\n|\r|\n")
_BLANK_END = re.compile(rb"[ \t](?:\r\n|\Z)")
_PRINTABLE = re.compile(rb"[\t\r\n -~]*\Z")
_ASCII = bytes(range(0x7F))


class Author(msgspec.Struct, frozen=True):
    """Whom a message is from: always a leased address; its display name may be any text."""

    address: str
    display_name: str | None

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


class Part(msgspec.Struct, frozen=True):
    """A piece of a message: header lines and body, both ending with CRLF."""

    header: bytes
    body: bytes


def compose(
    draft: Draft, author: Author, attempt_id: SendAttemptId, at: datetime, boundary: Callable[[], str] | None = None
) -> bytes:
    """The whole message, CRLF lines, dated `at`. Its Message-ID is that of the attempt, under the author's domain."""
    root = _root(draft, boundary or _boundary)
    return b"".join((*_header(draft, author, attempt_id, at), root.header, b"\r\n", root.body))


def message_of(content: bytes) -> FreshMessage:
    """What its author's mailbox shows of an outgoing message: what our own reader finds in it; codes are not sought."""
    mail = mime.parse(content)
    fresh = fresh_message(mail, NOTHING_FOUND, UNTOLD, new_part(mail))
    return msgspec.structs.replace(fresh, direction="outbound")


def header_message_id(attempt_id: SendAttemptId, domain: str) -> str:
    """`<26 characters@domain>`: unique because the attempt's id is."""
    return f"<{str(attempt_id).partition('_')[2]}@{domain}>"


def _header(draft: Draft, author: Author, attempt_id: SendAttemptId, at: datetime) -> list[bytes]:
    lines = [
        fields.tokens("From", fields.mailbox_words(as_one_line(author.display_name or ""), author.address)),
        fields.addresses("To", draft.to) if draft.to else fields.tokens("To", ["undisclosed-recipients:;"]),
    ]
    if draft.cc:
        lines.append(fields.addresses("Cc", draft.cc))
    if draft.reply_to:
        lines.append(fields.addresses("Reply-To", draft.reply_to))
    lines += [
        fields.text("Subject", draft.subject),
        fields.date("Date", draft.send_at or at),
        fields.tokens("Message-ID", [header_message_id(attempt_id, author.domain)]),
    ]
    if draft.in_reply_to:
        lines.append(fields.tokens("In-Reply-To", [draft.in_reply_to]))
    if draft.references:
        lines.append(fields.tokens("References", draft.references))
    for name, value in draft.headers:
        lines.append(fields.tokens(name, value.split()) if is_structured(name) else fields.text(name, value))
    return [*lines, b"MIME-Version: 1.0\r\n"]


def _root(draft: Draft, boundary: Callable[[], str]) -> Part:
    """mixed(alternative(text, related(html, inline parts)), attachments), with no more of it than is needed."""
    within = "inline" if draft.html is not None else ""
    inline = [each for each in draft.attachments if each.disposition == within]
    rest = [each for each in draft.attachments if each.disposition != within]
    text = draft.text
    if text is None:
        text = "" if draft.html is None else read_html(draft.html).text
    body = _text("plain", text)
    if draft.html is not None:
        html = _text("html", draft.html)
        if inline:
            html = _multipart("related", [html, *map(_attached, inline)], boundary(), ("type", "text/html"))
        body = _multipart("alternative", [body, html], boundary())
    if rest:
        body = _multipart("mixed", [body, *map(_attached, rest)], boundary())
    return body


def _multipart(subtype: str, parts: Sequence[Part], boundary: str, *given: tuple[str, str]) -> Part:
    delimiter = b"--" + boundary.encode()
    pieces = [piece for part in parts for piece in (delimiter, b"\r\n", part.header, b"\r\n", part.body)]
    header = fields.parameters("Content-Type", f"multipart/{subtype}", [*given, ("boundary", boundary)])
    return Part(header, b"".join((*pieces, delimiter, b"--\r\n")))


def _text(subtype: str, text: str) -> Part:
    octets = _LINE_ENDS.sub("\r\n", text).encode()
    if not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    encoding, body = _encoded(octets)
    content_type = fields.parameters("Content-Type", f"text/{subtype}", [("charset", "utf-8")])
    return Part(content_type + fields.tokens("Content-Transfer-Encoding", [encoding]), body)


def _encoded(octets: bytes) -> tuple[str, bytes]:
    """The transfer encoding that suits a text: as it is, quoted-printable, or base64 for what is hardly ASCII."""
    ascii_only = octets.isascii()
    longest = max(map(len, octets.split(b"\r\n")))
    if ascii_only and longest <= _MIME_LINE and _PRINTABLE.match(octets) and not _BLANK_END.search(octets):
        return "7bit", octets
    sample = octets[:LARGE_OCTETS]
    if len(sample.translate(None, _ASCII)) * 6 <= len(sample):
        quoted = binascii.b2a_qp(octets, istext=True)
        return "quoted-printable", quoted if quoted.endswith(b"\r\n") else quoted + b"\r\n"
    return "base64", _base64(octets)


def _base64(octets: bytes) -> bytes:
    whole = base64.b64encode(octets)
    lines = [whole[start : start + _BASE64_LINE] for start in range(0, len(whole), _BASE64_LINE)]
    return b"\r\n".join([*lines, b""])


def _attached(each: Attached) -> Part:
    kind, *given = each.content_type.split(";")
    charset = [("charset", item.partition("=")[2].strip().strip('"')) for item in given]
    lines = [
        fields.parameters("Content-Type", kind.strip().lower(), charset),
        fields.tokens("Content-Transfer-Encoding", ["base64"]),
        fields.parameters("Content-Disposition", each.disposition, [("filename", each.filename)]),
    ]
    if each.content_id:
        lines.append(fields.tokens("Content-ID", [f"<{each.content_id}>"]))
    return Part(b"".join(lines), _base64(each.content))


def _boundary() -> str:
    # `=_` stands in no line of quoted-printable or base64; in a plain text 128 random bits do not.
    return f"=_{secrets.token_hex(16)}"
