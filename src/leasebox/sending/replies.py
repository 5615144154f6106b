"""Answering and passing on: whom a reply goes to, its subject and references, what it quotes (RFC 5322 §3.6.4). Pure.

What is quoted was written by strangers: it is text in our text and escaped in our HTML; only a forward passes a page on
as it was delivered.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from leasebox.mail.headers import read_message_ids
from leasebox.mail.reply_words import FORWARD_PREFIX, REPLY_PREFIX
from leasebox.sending.addressees import NAME_CHARS, RECIPIENTS, Addressee, UnreadableAddress, read_addressee
from leasebox.sending.draft import SUBJECT_CHARS, Draft, Wish, read_draft, sound_message_ids
from leasebox.sending.errors import Unanswerable
from leasebox.sending.one_line import as_one_line

Manner = Literal["reply", "reply-all", "forward"]
QUOTED_CHARS = 200_000
REFERENCES = 30
_BEFORE = {
    "reply": ("Re: ", re.compile(rf"\s*(?:{REPLY_PREFIX})\s?(?:[\[(*]\d{{1,4}}[\])*]?)?\s?[:：]", re.IGNORECASE)),
    "forward": ("Fwd: ", re.compile(rf"\s*(?:{FORWARD_PREFIX})\s?[:：]", re.IGNORECASE)),
}


class Person(msgspec.Struct, frozen=True):
    """Somebody in a header, as strangers wrote it."""

    name: str
    address: str

    @property
    def shown(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


class Original(msgspec.Struct, frozen=True):
    """A message that is answered or passed on. message_id: its own, if it has one that can be written again.
    message_ids: of what it answers, the oldest first, its own last."""

    direction: str
    sender: Person
    reply_to: tuple[Person, ...]
    to: tuple[Person, ...]
    cc: tuple[Person, ...]
    subject: str
    received_at: datetime
    text: str
    html: str | None
    message_id: str | None
    message_ids: tuple[str, ...]


def read_original(row: Mapping[str, Any]) -> Original:
    """From a message as `mail.service.get` gives it."""
    return Original(
        row["direction"],
        Person(as_one_line(row["sender_name"]), row["sender"]),
        _persons(row["reply_to"]),
        _persons(row["recipients"]),
        _persons(row["cc"]),
        as_one_line(row["subject"]),
        row["received_at"],
        row["body_text"],
        row["body_html"],
        *message_ids(row["headers"]),
    )


def message_ids(headers: Iterable[Mapping[str, str]]) -> tuple[str | None, tuple[str, ...]]:
    """What In-Reply-To and References of an answer to a message with these header fields say: of the second at most
    REFERENCES, the first one kept.

    RFC 5322 §3.6.4: the parent's own id, and without one no In-Reply-To; the parent's References, else its In-Reply-To
    if that is one id, and the parent's own id.
    """
    fields: dict[str, str] = {}
    for each in headers:
        fields.setdefault(each["name"].lower(), each["value"])
    before = read_message_ids(fields.get("references", "").encode())
    if not before:
        parents = read_message_ids(fields.get("in-reply-to", "").encode())
        before = parents if len(parents) == 1 else ()
    own = sound_message_ids(read_message_ids(fields.get("message-id", "").encode())[:1])
    chain = tuple(dict.fromkeys([*(each for each in sound_message_ids(before) if each not in own), *own]))
    chain = chain if len(chain) <= REFERENCES else (chain[0], *chain[1 - REFERENCES :])
    return (own[0] if own else None), chain


def answer(original: Original, own: str, manner: Manner, wish: Wish, at: datetime) -> Draft:
    """A reply, to the sender or to all. own: the address that answers, which is never among the recipients of a reply
    to all. Raises Unanswerable (422), and as `read_draft` does."""
    to = _readable(original.to if original.direction == "outbound" else original.reply_to or (original.sender,))
    cc: tuple[Addressee, ...] = ()
    if manner == "reply-all":
        others = original.cc if original.direction == "outbound" else (*original.to, *original.cc)
        named = {each.key for each in to}
        cc = tuple(each for each in _readable(others) if each.mailbox != own and each.key not in named)
        to = tuple(each for each in to if each.mailbox != own) or to
    _require_answerable(to, cc, wish)
    draft = read_draft(to, _subject(original.subject, "reply"), wish, at, cc)
    return _referring(msgspec.structs.replace(draft, **_quoting(original, draft)), original)


def forward(original: Original, to: Any, wish: Wish, at: datetime) -> Draft:
    """A message passed on, its attachments not yet among those of the draft. Raises as `read_draft` does."""
    draft = read_draft(to, _subject(original.subject, "forward"), wish, at)
    return _referring(msgspec.structs.replace(draft, **_passing_on(original, draft)), original)


def _require_answerable(to: Sequence[Addressee], cc: Sequence[Addressee], wish: Wish) -> None:
    """Raises Unanswerable."""
    if not (to or cc or wish.cc or wish.bcc):
        raise Unanswerable("The message names nobody who can be written to.")
    if len(to) + len(cc) > RECIPIENTS:
        raise Unanswerable(f"The message names {len(to) + len(cc)} people; one may go to {RECIPIENTS}.")


def _referring(draft: Draft, original: Original) -> Draft:
    return msgspec.structs.replace(draft, in_reply_to=original.message_id, references=original.message_ids)


def _subject(subject: str, manner: Literal["reply", "forward"]) -> str:
    prefix, known = _BEFORE[manner]
    return (subject if known.match(subject) else prefix + subject)[:SUBJECT_CHARS].strip()


def _quoting(original: Original, draft: Draft) -> dict[str, str | None]:
    """The draft's text above the original's, each line of which is marked (RFC 3676 §4.5)."""
    lines = original.text[:QUOTED_CHARS].rstrip().split("\n") if original.text.strip() else []
    intro = f"On {_when(original)}, {original.sender.shown} wrote:"
    quoted = "\n".join([intro, *(f">{line}" if line.startswith(">") else f"> {line}".rstrip() for line in lines)])
    page = None
    if draft.html is not None:
        cited = html.escape("\n".join(lines)).replace("\n", "<br>\n")
        page = f"{draft.html}\n<p>{html.escape(intro)}</p>\n<blockquote>{cited}</blockquote>\n"
    text = draft.text
    if text is None and draft.html is not None:
        return {"text": None, "html": page}  # the text is made from the page, quotation and all
    return {"text": f"{(text or '').rstrip()}\n\n{quoted}\n".lstrip("\n"), "html": page}


def _passing_on(original: Original, draft: Draft) -> dict[str, str | None]:
    lines = [
        "---------- Forwarded message ----------",
        f"From: {original.sender.shown}",
        f"Date: {_when(original)}",
        f"Subject: {original.subject}",
        f"To: {', '.join(each.shown for each in original.to[:20])}",
    ]
    if original.cc:
        lines.append(f"Cc: {', '.join(each.shown for each in original.cc[:20])}")
    header = "\n".join(lines)
    text = f"{(draft.text or '').rstrip()}\n\n{header}\n\n{original.text[:QUOTED_CHARS]}".lstrip("\n")
    if draft.html is None and original.html is None:
        return {"text": text, "html": None}
    above = draft.html if draft.html is not None else _as_page(draft.text or "")
    below = original.html if original.html is not None else _as_page(original.text[:QUOTED_CHARS])
    return {
        "text": None if draft.text is None and draft.html is not None else text,
        "html": f"{above}\n<p>{_as_page(header)}</p>\n{below}",
    }


def _as_page(text: str) -> str:
    return html.escape(text).replace("\n", "<br>\n")


def _when(original: Original) -> str:
    return original.received_at.astimezone(UTC).strftime("%d %b %Y at %H:%M UTC")


def _readable(people: Sequence[Person]) -> tuple[Addressee, ...]:
    """Those whose addresses can be written to, each once."""
    found: dict[str, Addressee] = {}
    for each in people:
        try:
            addressee = read_addressee(each.address)
        except UnreadableAddress:
            continue
        named = msgspec.structs.replace(addressee, name=each.name[:NAME_CHARS])
        found.setdefault(named.key, named)
    return tuple(found.values())


def _persons(found: Iterable[Mapping[str, str]]) -> tuple[Person, ...]:
    return tuple(Person(as_one_line(each["name"]), each["address"]) for each in found)
