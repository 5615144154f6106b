"""Raw bytes of one mail to its fields: pure, total and bounded (RFC 5322, RFC 2045–2047, RFC 2231, RFC 8621 §4.1.4).

Everything in the result comes from a stranger and is data, never an instruction. No text in it holds a NUL or a lone
surrogate, so PostgreSQL's text and jsonb take all of it.
"""

import re
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from leasebox.mail import charsets
from leasebox.mail.address_list import Address, domain_of, read_addresses
from leasebox.mail.bodies import decode_body, unwrap_flowed
from leasebox.mail.headers import Fields, decode_field, read_date, read_message_id, read_message_ids, scan
from leasebox.mail.html import HtmlText, read_html
from leasebox.mail.mime_bounds import (
    ENCODED_PER_OCTET,
    HTML_BYTES,
    MESSAGE_ID_CHARS,
    PREVIEW_CHARS,
    SUBJECT_CHARS,
    TEXT_BYTES,
    Defects,
)
from leasebox.mail.mime_layout import Layout, disposition_of
from leasebox.mail.mime_tree import Part, read_tree
from leasebox.mail.parameters import safe_filename

_META_CHARSET: Final = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}["']?([\w.:-]{1,40})""", re.IGNORECASE)
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+"
)
_AUTO_FIELDS: Final = ("x-autoreply", "x-autorespond", "x-auto-response")
_SALVAGE_BYTES: Final = 16 * 1024


class Attachment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A part that is not the mail's text. `index` numbers it as IMAP does and fetches it with `attachment`."""

    index: str
    filename: str
    content_type: str
    size_bytes: int
    content_id: str | None
    disposition: Literal["attachment", "inline"]


class AttachmentBytes(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment with its decoded content."""

    filename: str
    content_type: str
    content: bytes


class ParsedMail(msgspec.Struct, frozen=True, kw_only=True):
    """What a mail says. Strings are "" and options None where the mail says nothing.

    outcome: "failed" when a bound or a crash left nothing to read but header fields.
    sender: bare address of From (else of Sender). text: plain text, made from HTML where only that was sent; `\\n` ends
    lines. html: as delivered, decoded. headers: all fields in order, values decoded. date: UTC. message_id, in_reply_to
    and references keep their angle brackets. is_auto_submitted: RFC 3834. preview: one line, at most 140 characters.
    defects: stable words for what was wrong or cut.
    """

    outcome: Literal["parsed", "failed"]
    subject: str = ""
    sender: str = ""
    sender_name: str = ""
    sender_domain: str = ""
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    date: datetime | None = None
    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    text_from: Literal["plain", "html"] = "plain"
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    is_auto_submitted: bool = False
    preview: str = ""
    defects: tuple[str, ...] = ()


class _Body(NamedTuple):
    text: str = ""
    text_from: Literal["plain", "html"] = "plain"
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()

    @property
    def is_readable(self) -> bool:
        """True when more came out than multiparts that were too many or too deep to open."""
        kinds = (one.content_type for one in self.attachments)
        return bool(self.text or self.html) or any(not kind.startswith("multipart/") for kind in kinds)


def parse(raw: bytes) -> ParsedMail:
    """Read a mail with CRLF or bare LF lines. Never raises; every bound of `mime_bounds` holds."""
    defects = Defects()
    root = read_tree(raw, defects)
    layout = Layout(root, defects)
    body = _body(raw, layout, defects)
    outcome: Literal["parsed", "failed"] = "failed" if defects.fatal() and not body.is_readable else "parsed"
    return _message(root.fields, layout.charset, defects, outcome, body)


def salvage(raw: bytes, defect: str) -> ParsedMail:
    """A mail that could not be read, with what the first 16 KB of its header say; `defect` tells why. Never raises."""
    defects = Defects()
    defects.add(defect)
    fields, _ = scan(raw, 0, min(len(raw), _SALVAGE_BYTES), _SALVAGE_BYTES, defects)
    return _message(fields, "", defects, "failed", _Body())


def attachment(raw: bytes, path: str) -> AttachmentBytes | None:
    """The attachment that `parse(raw)` listed under index `path`, or None where it listed none."""
    defects = Defects()
    root = read_tree(raw, defects)
    layout = Layout(root, defects)
    for part in layout.attachments:
        if part.path == path:
            listed = _attachment(raw, part, layout.charset, defects)
            return AttachmentBytes(
                filename=listed.filename, content_type=listed.content_type, content=_content(raw, part, defects)
            )
    return None


def attachments(raw: bytes) -> list[tuple[Attachment, bytes]]:
    """All attachments that `parse(raw)` lists, each with its decoded content, in one pass. As bounded as `parse`."""
    defects = Defects()
    layout = Layout(read_tree(raw, defects), defects)
    return [
        (_attachment(raw, part, layout.charset, defects), _content(raw, part, defects)) for part in layout.attachments
    ]


def _message(
    fields: Fields, hint: str, defects: Defects, outcome: Literal["parsed", "failed"], body: _Body
) -> ParsedMail:
    if len(fields.every("from")) > 1:
        defects.add("from_repeated")
    sender = _sender(fields, hint, defects)
    subject = decode_field(fields.first("subject"), hint)
    if len(subject) > SUBJECT_CHARS:
        defects.add("subject_cut")
    return ParsedMail(
        outcome=outcome,
        subject=subject[:SUBJECT_CHARS],
        sender=sender.address,
        sender_name=sender.name,
        sender_domain=domain_of(sender.address),
        to=_recipients(fields, "to", hint, defects),
        cc=_recipients(fields, "cc", hint, defects),
        reply_to=_recipients(fields, "reply-to", hint, defects),
        date=read_date(fields.first("date")) if "date" in fields else None,
        message_id=read_message_id(fields.first("message-id")) if "message-id" in fields else None,
        in_reply_to=read_message_id(fields.first("in-reply-to")) if "in-reply-to" in fields else None,
        references=read_message_ids(fields.first("references")) if "references" in fields else (),
        headers=tuple((name, decode_field(value, hint)) for name, value in fields.items),
        text=body.text,
        text_from=body.text_from,
        html=body.html,
        attachments=body.attachments,
        is_auto_submitted=_is_auto_submitted(fields),
        preview=_preview(body.text),
        defects=defects.words(),
    )


def _sender(fields: Fields, hint: str, defects: Defects) -> Address:
    """The first mailbox of From; of Sender where From names no address."""
    nameless = Address("", "")
    found = [*read_addresses(fields.first("from"), hint, defects), nameless]
    if found[0].address or "sender" not in fields:
        return found[0]
    return next((one for one in read_addresses(fields.first("sender"), hint, defects) if one.address), found[0])


def _recipients(fields: Fields, name: str, hint: str, defects: Defects) -> tuple[Address, ...]:
    if name not in fields:
        return ()
    values = fields.every(name)
    joined = values[0] if len(values) == 1 else b", ".join(values)
    return tuple(one for one in read_addresses(joined, hint, defects) if one.address)


def _is_auto_submitted(fields: Fields) -> bool:
    """RFC 3834 §5, and what answering machines said before it."""
    word = fields.first("auto-submitted").strip().lower()
    if word and not word.startswith(b"no"):
        return True
    precedence = fields.first("precedence").strip().lower()
    return precedence in (b"auto_reply", b"auto-reply") or any(name in fields for name in _AUTO_FIELDS)


def _body(raw: bytes, layout: Layout, defects: Defects) -> _Body:
    markups = _markups(raw, layout, defects)
    plains = _plains(raw, layout, defects)
    if plains:
        shown = [part for part in layout.text if part.path in plains or part.path in markups]
        pieces = [plains[part.path] if part.path in plains else _from_html(markups[part.path]) for part in shown]
    else:
        pieces = [_from_html(markup) for markup in markups.values()]
    return _Body(
        text="\n".join(piece.rstrip("\n") for piece in pieces if piece.strip()),
        text_from="html" if markups and not plains else "plain",
        html="\n".join(markups[part.path] for part in layout.markup if part.path in markups) or None,
        attachments=tuple(_attachment(raw, part, layout.charset, defects) for part in layout.attachments),
    )


def _markups(raw: bytes, layout: Layout, defects: Defects) -> dict[str, str]:
    """HTML by part, blank ones left out, HTML_BYTES together."""
    found: dict[str, str] = {}
    room = HTML_BYTES
    for part in (*layout.markup, *layout.text):
        if part.content_type == "text/html" and part.path not in found:
            content = _beginning(raw, part, room, defects)
            room -= len(content)
            markup = charsets.decode(content, part.parameters.get("charset") or _meta_charset(content))
            if markup.strip():
                found[part.path] = markup
    return found


def _plains(raw: bytes, layout: Layout, defects: Defects) -> dict[str, str]:
    """Plain text by part, blank ones left out, TEXT_BYTES together."""
    found: dict[str, str] = {}
    room = TEXT_BYTES
    for part in layout.text:
        if part.content_type == "text/plain":
            content = _beginning(raw, part, room, defects)
            room -= len(content)
            text = _plain_text(part, content)
            if text.strip():
                found[part.path] = text
    return found


def _plain_text(part: Part, content: bytes) -> str:
    text = charsets.decode(content, part.parameters.get("charset", ""))
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if part.parameters.get("format", "").lower() == "flowed":
        return unwrap_flowed(text, part.parameters.get("delsp", ""))
    return text


def _from_html(markup: str) -> str:
    page: HtmlText = read_html(markup)
    quoted = "".join(f"\n> {line}" for line in page.quoted.split("\n")) if page.quoted.strip() else ""
    return charsets.storable(page.text + quoted)


def _meta_charset(markup: bytes) -> str:
    found = _META_CHARSET.search(markup[:1024])
    return found[1].decode("ascii", "replace") if found else ""


def _beginning(raw: bytes, part: Part, room: int, defects: Defects) -> bytes:
    """At most `room` octets of a body; only as much of it is decoded as can yield them."""
    stop = min(part.end, part.start + ENCODED_PER_OCTET * room)
    encoding = part.fields.first("content-transfer-encoding")
    content = decode_body(raw[part.start : stop], encoding, part.content_type, defects)
    if len(content) > room or stop < part.end:
        defects.add("text_cut" if part.content_type == "text/plain" else "html_cut")
    return charsets.cut(content, room)


def _content(raw: bytes, part: Part, defects: Defects) -> bytes:
    encoding = part.fields.first("content-transfer-encoding")
    return decode_body(raw[part.start : part.end], encoding, part.content_type, defects)


def _attachment(raw: bytes, part: Part, hint: str, defects: Defects) -> Attachment:
    word, claimed = disposition_of(part, hint, defects)
    content_id = decode_field(part.fields.first("content-id")[:MESSAGE_ID_CHARS]).strip("<> ")
    return Attachment(
        index=part.path,
        filename=safe_filename(claimed, part.content_type, part.path),
        content_type=part.content_type,
        size_bytes=len(_content(raw, part, defects)),
        content_id=content_id or None,
        disposition="inline" if word == "inline" or (content_id and word != "attachment") else "attachment",
    )


def _preview(text: str) -> str:
    """The beginning of `text` on one line, without the invisible padding that senders put behind a preheader."""
    return " ".join(_INVISIBLE.sub("", text[: 20 * PREVIEW_CHARS]).split())[:PREVIEW_CHARS].rstrip()
