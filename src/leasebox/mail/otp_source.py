"""From what stands in a mail to the text in which codes are looked for: one alphabet, no old mail, no addresses."""

import re
import unicodedata
from typing import Final

from leasebox.mail.reply_words import (
    FORWARD_PREFIX,
    FORWARDED_MESSAGE,
    ORIGINAL_MESSAGE,
    REPLY_PREFIX,
    WROTE,
    WROTE_UNSPACED,
)
from leasebox.values.normal_form import nfkc

TEXT_CAP: Final = 256_000
"""Characters of one text that are read; the rest is cut."""
SUBJECT_CAP: Final = 1_000


def normalise(text: str) -> str:
    """NFKC, dashes as "-", digits of all scripts as 0-9, signs that nobody sees removed. Total and linear.

    NFKC makes up to 18 characters of one: what a text has gained beyond TEXT_CAP is cut.
    """
    if text.isascii():
        return text.replace("\r", "") if "\r" in text else text
    # A full-width comma ends a clause; NFKC would make it one that could stand within a number.
    text = nfkc(text.replace("，", "、"))[: max(len(text), TEXT_CAP)].translate(_SIGNS)
    return _FOREIGN_DIGIT.sub(lambda m: str(unicodedata.digit(m[0], 0)), text)


def blot(text: str) -> str:
    """Links, addresses, hashes, phone and IP numbers and colours overwritten with "~", so that all offsets stay."""
    if "://" in text or "www." in text:
        text = _LINK.sub(_blank, text)
    if "@" in text:
        text = _MAIL_ADDRESS.sub(_blank, text)
    return _NO_CODE.sub(_blank, text)


def without_quotes(text: str, subject: str) -> str:
    """The text of a reply without what it quotes. A forwarded mail is no quote: it is what the mail is about."""
    if is_forward(text) or forwards(subject):
        return _QUOTE_MARK.sub("", text)
    if "\n>" in text or text.startswith(">") or "\n >" in text:
        text = _QUOTED_LINE.sub("", text)
    starts = [len(text)]
    if ":\n" in text or text.endswith(":"):
        wrote = _ATTRIBUTION.search(text)
        starts += [_attribution_start(text, wrote.start())] if wrote else []
    if "--" in text:
        original = _ORIGINAL.search(text)
        starts += [original.start()] if original else []
    if any(word in text for word in _FROM_WORDS):
        block = _FROM_LINE.search(text)
        starts += [block.start()] if block and text[: block.start()].strip() else []
    return text[: min(starts)]


def is_forward(text: str) -> bool:
    """Whether a text holds the line that stands above a forwarded mail."""
    return ("--" in text or "egin forw" in text) and bool(_FORWARDED.search(text))


def forwards(subject: str) -> bool:
    """Whether a subject says that the mail hands on another."""
    return bool(_FORWARD_SUBJECT.match(subject))


def is_reply(subject: str) -> bool:
    """Whether a subject says that the mail answers another."""
    return bool(_REPLY_SUBJECT.match(subject))


_UNSEEN: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff\ufe0e\ufe0f\r"
)
_SIGNS: Final = str.maketrans(
    {
        **dict.fromkeys(_UNSEEN, ""),
        **dict.fromkeys("\u2010\u2011\u2012\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u0130", "I"),
        **dict.fromkeys("\u2028\u2029\u0085", "\n"),
    }
)
_FOREIGN_DIGIT: Final = re.compile(r"(?![0-9])\d")
_LINK: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"'|]++", re.I)
_MAIL_ADDRESS: Final = re.compile(
    r"(?<![^\s<>@\"'(),;:])[^\s<>@\"'(),;:]{1,64}@[a-zA-Z0-9-]{1,63}(?:\.[a-zA-Z0-9-]{1,63})+"
)
_NO_CODE: Final = re.compile(
    r"\b(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b|[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|[0-9A-Za-z]{16,}+"
    r"|[a-z0-9]{3}-[a-z0-9]{4}-[a-z0-9]{3}\b|0x[0-9a-fA-F]+)"
    r"|\+[0-9][0-9 ().-]{6,18}[0-9]|\([0-9]{2,5}\) ?[0-9]{3,4}[ -][0-9]{3,4}\b"
    r"|(?<![0-9A-Za-z])#[0-9a-fA-F]{3}(?:[0-9a-fA-F]{3})?\b"
)
_QUOTE_MARK: Final = re.compile(r"^[ \t]?(?:>[ \t]?)+", re.M)
_QUOTED_LINE: Final = re.compile(r"^[ \t]?>.*$", re.M)
_FORWARDED: Final = re.compile(rf"(?<!-)-{{2,}}+\s?(?:{FORWARDED_MESSAGE})|begin forwarded message", re.I)
_FORWARD_SUBJECT: Final = re.compile(rf"\s*(?:{FORWARD_PREFIX})\s?[:：]", re.I)
_REPLY_SUBJECT: Final = re.compile(rf"\s*(?:{REPLY_PREFIX})\s?(?:[\[(*]\d{{1,4}}[\])*]?)?\s?[:：]", re.I)
_ATTRIBUTION: Final = re.compile(rf"(?:{WROTE}|{WROTE_UNSPACED})[^\n]{{0,60}}[:：][ \t]*$", re.M)
_ORIGINAL: Final = re.compile(rf"^[ \t]*+-{{2,}}+\s?(?:{ORIGINAL_MESSAGE})", re.I | re.M)
_FROM_WORDS: Final = "From: Von: De: Da: Van: Od: Kimden: От: Від: 发件人 寄件者 差出人 보낸".split()
_FROM_LINE: Final = re.compile(
    r"^\*?(?:From|Von|De|Da|Van|Od|Kimden|От|Від|发件人|寄件者|差出人|보낸 사람)\*?\s?[:：]"
    r"[^\n]{1,200}\n(?:[^\n]{1,200}\n)?"
    r"\*?(?:Sent|Date|Gesendet|Datum|Envoyé|Enviad[oa]|Fecha|Data|Inviato|Verzonden|Wysłano|Tarih|Отправлено|Дата|Надіслано"
    r"|发送时间|寄件日期|送信日時|보낸 날짜)\*?\s?[:：]",
    re.M,
)


def _blank(match: re.Match[str]) -> str:
    return "~" * (match.end() - match.start())


def _attribution_start(text: str, at: int) -> int:
    """Where "On … wrote:" starts: its line, or the one above where a client has folded it."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:at]
    if any(c.isdigit() for c in line) or start < 2:
        return start
    above = text.rfind("\n", 0, start - 1) + 1
    return above if any(c.isdigit() for c in text[above:start]) and start - above < 100 else start
