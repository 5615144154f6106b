"""A message as its author wishes it, judged whole before anything is done: all faults are told together. Pure.

Nothing that could end a header line gets past here: names, subjects, file names and custom fields are one line each.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from leasebox.sending.addressees import RECIPIENTS, Addressee, Kind, UnreadableAddress, read_addressee, unique
from leasebox.sending.errors import Fault, TooManyOctets, Unsendable
from leasebox.sending.fields import WORD_OCTETS
from leasebox.sending.one_line import is_one_line

ATTACHED_OCTETS = 25 * 1024 * 1024
TEXT_OCTETS = 1024 * 1024
SUBJECT_CHARS = 998
SEND_AHEAD = timedelta(days=30)
FILENAME_OCTETS = 200
# Fields that may be set, beside those that begin like LONG_NAMES: of free text, and with a syntax of their own.
LONG_NAMES = ("x-", "list-")
FREE = frozenset({"comments", "keywords", "organization"})
STRUCTURED = frozenset({"auto-submitted", "importance", "priority", "sensitivity", "precedence", "feedback-id"})
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,75}\Z")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,400}@[!-;=?-~]{1,400}>\Z")
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}\Z")
_CONTENT_TYPE = re.compile(
    r"(?P<kind>[A-Za-z0-9!#$&^_.+-]{1,60})/[A-Za-z0-9!#$&^_.+-]{1,100}(?:;\s*charset=\"?[A-Za-z0-9._:-]{1,40}\"?)?\Z"
)

OneOrMany = str | Annotated[list[str], msgspec.Meta(max_length=RECIPIENTS)]
BodyText = Annotated[str, msgspec.Meta(max_length=TEXT_OCTETS)]


class AttachmentGiven(msgspec.Struct, forbid_unknown_fields=True):
    """content_base64: RFC 4648 §4. content_id: without angle brackets; `cid:` links in the HTML name it. inline: shown
    within the HTML rather than listed below it."""

    filename: str
    content_type: str
    content_base64: bytes
    content_id: str | None = None
    inline: bool = False


class Wish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What can be asked of any message. cc, bcc, reply_to: `a@b.example`, `Name <a@b.example>`, or a list of these.

    text, html: up to 1 MiB each; a text is made from the HTML where it is missing. attachments: 25 MiB together.
    headers: X-*, List-*, Auto-Submitted, Importance, Priority, Sensitivity, Precedence, Feedback-ID, Keywords, Comments
    and Organization. send_at: at most 30 days ahead and not after the end of the lease; until then the message can be
    cancelled. mailbox_password: stands in for the scope mail:send.
    """

    cc: OneOrMany | None = None
    bcc: OneOrMany | None = None
    reply_to: OneOrMany | None = None
    text: BodyText | None = None
    html: BodyText | None = None
    attachments: Annotated[list[AttachmentGiven], msgspec.Meta(max_length=100)] = []
    headers: Annotated[dict[str, str], msgspec.Meta(max_length=50)] = {}
    send_at: datetime | None = None
    mailbox_password: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class Attached(msgspec.Struct, frozen=True):
    """A file of a message. content_type: perhaps with a charset. content_id: without angle brackets."""

    filename: str
    content_type: str
    content: bytes
    content_id: str | None
    disposition: Literal["attachment", "inline"]


class Draft(msgspec.Struct, frozen=True):
    """A sound message without its author. in_reply_to, references: message ids with angle brackets, oldest first."""

    to: tuple[Addressee, ...]
    cc: tuple[Addressee, ...]
    bcc: tuple[Addressee, ...]
    reply_to: tuple[Addressee, ...]
    subject: str
    text: str | None
    html: str | None
    attachments: tuple[Attached, ...]
    headers: tuple[tuple[str, str], ...]
    send_at: datetime | None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()

    @property
    def recipients(self) -> tuple[tuple[Kind, Addressee], ...]:
        """The envelope, each recipient once."""
        kinds: tuple[tuple[Kind, tuple[Addressee, ...]], ...] = (("to", self.to), ("cc", self.cc), ("bcc", self.bcc))
        return tuple((kind, each) for kind, people in kinds for each in people)

    @property
    def octets(self) -> int:
        """About how large it is: what decides whether composing it is work for a thread."""
        texts = len(self.text or "") + len(self.html or "")
        return texts + sum(len(each.content) for each in self.attachments)


def read_draft(to: Any, subject: str, wish: Wish, at: datetime, also_cc: Sequence[Addressee] = ()) -> Draft:
    """Judge a wish at a moment. to: as in `SendRequest`, or a tuple of addressees that the request
    does not name, one at least; also_cc: further ones.

    Raises Unsendable (422) with every fault, TooManyOctets (413).
    """
    faults: list[Fault] = []
    people = unique(
        {
            "to": _people("to", to, faults),
            "cc": (*also_cc, *_people("cc", wish.cc, faults)),
            "bcc": _people("bcc", wish.bcc, faults),
        }
    )
    count = sum(map(len, people.values()))
    if not count and not faults:
        faults.append(Fault("body.to", "names nobody"))
    if count > RECIPIENTS:
        # A reply has no `to`: whom it answers fits, so it is cc or bcc that has too many.
        field = "to" if not isinstance(to, tuple) else "cc" if wish.cc else "bcc"
        faults.append(Fault(f"body.{field}", f"more than {RECIPIENTS} recipients in to, cc and bcc"))
    draft = Draft(
        to=people["to"],
        cc=people["cc"],
        bcc=people["bcc"],
        reply_to=_people("reply_to", wish.reply_to, faults),
        subject=_subject(subject, faults),
        text=_body("text", wish.text, faults),
        html=_body("html", wish.html, faults),
        attachments=tuple(_attached(place, each, faults) for place, each in enumerate(wish.attachments)),
        headers=_headers(wish.headers, faults),
        send_at=_send_at(wish.send_at, at, faults),
    )
    if faults:
        raise Unsendable(faults)
    if sum(len(each.content) for each in draft.attachments) > ATTACHED_OCTETS:
        raise TooManyOctets(
            f"Attachments may have {ATTACHED_OCTETS} octets together.", fix="Send fewer or smaller ones."
        )
    return draft


def read_message_id(text: str) -> str:
    """A message id of somebody else's, `<left@right>`. Raises Unsendable."""
    if not _MESSAGE_ID.match(text):
        raise Unsendable([Fault("body.in_reply_to", "neither a message_id of ours nor <an id@in angle brackets>")])
    return text


def sound_message_ids(found: Sequence[str]) -> tuple[str, ...]:
    """Those of some ids from received mail that can be written again."""
    return tuple(each for each in found if _MESSAGE_ID.match(each))


def is_attachable(content_type: str) -> bool:
    """Whether a part of this type may be encoded in base64: RFC 2045 §6.4 and RFC 2046 §5.2.1 except two."""
    kind = _CONTENT_TYPE.match(content_type)
    return kind is not None and kind["kind"].lower() not in ("multipart", "message")


def is_structured(name: str) -> bool:
    """Whether a field that may be set has a syntax of its own, which is ASCII in words."""
    return name.lower() in STRUCTURED or name.lower().startswith("list-")


def is_content_id(text: str) -> bool:
    """Whether this can stand between the angle brackets of Content-ID."""
    return _CONTENT_ID.match(text) is not None


def _people(field: str, given: Any, faults: list[Fault]) -> tuple[Addressee, ...]:
    texts = [given] if isinstance(given, str) else given or []
    found = []
    for place, text in enumerate(texts):
        try:
            found.append(text if isinstance(text, Addressee) else read_addressee(text))
        except UnreadableAddress as fault:
            path = f"body.{field}" if isinstance(given, str) else f"body.{field}[{place}]"
            faults.append(Fault(path, f"the address {fault}"))
    return tuple(found)


def _subject(text: str, faults: list[Fault]) -> str:
    if len(text) > SUBJECT_CHARS:
        faults.append(Fault("body.subject", f"more than {SUBJECT_CHARS} characters"))
    return _line("body.subject", text, faults).strip()


def _line(path: str, text: str, faults: list[Fault]) -> str:
    if not is_one_line(text):
        faults.append(Fault(path, "must be one line without control characters"))
    return text


def _body(field: str, text: str | None, faults: list[Fault]) -> str | None:
    if text is None:
        return None
    if "\x00" in text:
        faults.append(Fault(f"body.{field}", "holds a NUL character"))
    if len(text.encode()) > TEXT_OCTETS:
        faults.append(Fault(f"body.{field}", f"more than {TEXT_OCTETS} octets in UTF-8"))
    return text


def _attached(place: int, given: AttachmentGiven, faults: list[Fault]) -> Attached:
    path = f"body.attachments[{place}]"
    name = _line(f"{path}.filename", given.filename, faults).strip()
    if not name or len(name.encode()) > FILENAME_OCTETS or "/" in name or "\\" in name:
        faults.append(Fault(f"{path}.filename", f"1 to {FILENAME_OCTETS} octets, no slash or backslash"))
    if not is_attachable(given.content_type):
        said = "not type/subtype, perhaps with a charset; for message/* and multipart/* use application/octet-stream"
        faults.append(Fault(f"{path}.content_type", said))
    if given.content_id is not None and not is_content_id(given.content_id):
        faults.append(Fault(f"{path}.content_id", "1 to 200 letters, digits and punctuation, no angle brackets"))
    disposition: Literal["attachment", "inline"] = "inline" if given.inline else "attachment"
    return Attached(name, given.content_type, given.content_base64, given.content_id, disposition)


def _headers(given: Mapping[str, str], faults: list[Fault]) -> tuple[tuple[str, str], ...]:
    seen: set[str] = set()
    for name, value in given.items():
        path, lower = f"body.headers.{name}", name.lower()
        if not is_one_line(name):
            path = "body.headers"
        if not _allowed(name):
            faults.append(Fault(path, "not a field that can be set; see the allowed ones in /openapi.json"))
        if lower in seen:
            faults.append(Fault(path, "given twice"))
        seen.add(lower)
        _line(path, value, faults)
        if len(value) > SUBJECT_CHARS:
            faults.append(Fault(path, f"more than {SUBJECT_CHARS} characters"))
        if is_structured(name) and not (value.isascii() and _is_foldable(value)):
            faults.append(Fault(path, f"this field takes ASCII only, in words of at most {WORD_OCTETS} characters"))
    return tuple(given.items())


def _allowed(name: str) -> bool:
    """X-* and List-* by their beginning, the others whole; never one that says who sent a message or how to read it."""
    lower = name.lower()
    if not _FIELD_NAME.match(name):
        return False
    return lower in FREE | STRUCTURED or (lower.startswith(LONG_NAMES) and lower not in LONG_NAMES)


def _is_foldable(value: str) -> bool:
    return all(len(word) <= WORD_OCTETS for word in value.split())


def _send_at(moment: datetime | None, at: datetime, faults: list[Fault]) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        faults.append(Fault("body.send_at", "has no offset; write times like 2026-11-20T10:02:24Z"))
        return None
    if not at < moment <= at + SEND_AHEAD:
        faults.append(Fault("body.send_at", f"must lie in the next {SEND_AHEAD.days} days"))
    return moment
