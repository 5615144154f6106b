"""The subject that answers share: without "Re:", list tags and the like (RFC 5256 §2.1, in more languages). Pure."""

import re
from hashlib import blake2b
from typing import Final

from leasebox.mail.otp_source import is_reply
from leasebox.mail.reply_words import FORWARD_PREFIX, REPLY_PREFIX
from leasebox.values.normal_form import nfkc

SUBJECT_CAP: Final = 1_000
"""Characters of a subject that are read."""
_TAG: Final = re.compile(r"\s*\[[^\[\]]{0,80}\]\s*")
_PREFIX: Final = re.compile(rf"\s*(?:{REPLY_PREFIX}|{FORWARD_PREFIX})\s?(?:[\[(*]\d{{1,4}}[\])*]?)?\s?[:：]\s*", re.I)
_TRAILER: Final = re.compile(r"\s*\((?:fwd?|was:[^()]{0,200})\)\s*\Z", re.I)


def answers(subject: str) -> bool:
    """Whether a subject says that its mail answers another, also behind a tag such as `[list]`."""
    subject = subject[:SUBJECT_CAP]
    tag = _TAG.match(subject)
    return is_reply(subject) or (tag is not None and is_reply(subject[tag.end() :]))


def base_subject(subject: str) -> str:
    """What is left without prefixes, tags and trailers: one case, one spelling (NFKC), single spaces."""
    text = " ".join(nfkc(subject[:SUBJECT_CAP]).casefold().split())
    at = 0
    while (cut := _PREFIX.match(text, at)) or ((cut := _TAG.match(text, at)) and cut.end() < len(text)):
        at = cut.end()
    while trailer := _TRAILER.search(text, at):
        text = text[: trailer.start()]
    return text[at:].strip()


def subject_key(subject: str) -> int | None:
    """64 bits of a hash of `base_subject`, signed as PostgreSQL's bigint; None where nothing is left of it."""
    base = base_subject(subject)
    return (
        int.from_bytes(blake2b(base.encode("utf-8", "surrogatepass"), digest_size=8).digest(), signed=True)
        if base
        else None
    )
