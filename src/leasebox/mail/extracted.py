"""The new part of an answer: its text without the mails quoted in it and without its signature.

What stands between quotes is kept, in order. A forwarded mail is no quote: it is what the mail is about. Where nothing
tells the new from the old, all of the text counts as new. Pure, total, linear in the first LINES_CAP lines.
"""

import re
from typing import Final

from leasebox.mail import reply_words as words
from leasebox.mail.mime import ParsedMail
from leasebox.mail.otp_source import forwards, normalise
from leasebox.mail.threads_subject import answers

LINES_CAP: Final = 20_000
"""Lines that are read; what follows them is kept unless the quote began before."""
LINE_CAP: Final = 400
"""Characters of a line (or of an attribution over several) that are judged; longer lines are nobody's attribution."""
_FOLDS: Final = 3
_SIGNATURE_LINES: Final = 20
_BARE_SIGNATURE_LINES: Final = 8
_DELIMITERS: Final = 100
_BLOCK_LINES: Final = 12
_PADDING_CHARS: Final = 120


def new_part(mail: ParsedMail) -> str | None:
    """What the writer of a mail added; None where that is all of its text."""
    lines = mail.text.split("\n", LINES_CAP)
    unread = lines.pop() if len(lines) > LINES_CAP else None
    reading = _Reading(lines, mail)
    reading.run()
    if not reading.has_dropped or (reading.is_over and not reading.kept):
        return None
    if unread is not None and not reading.is_over:
        reading.kept.append(unread)
    return "\n".join(reading.kept).strip("\n")


class _Reading:
    """The lines from the top, each kept or dropped. Its verbs answer whether they have dealt with the line."""

    def __init__(self, lines: list[str], mail: ParsedMail) -> None:
        self.lines = lines
        self.kept: list[str] = []
        self.at = 0
        self.is_answer = answers(mail.subject) or bool(mail.in_reply_to or mail.references)
        self.hands_on = forwards(mail.subject)
        # Text made from HTML has its quotes at the end, wherever they stood.
        self.is_reordered = mail.text_from == "html" and any(map(_QUOTED.match, lines))
        self.dashes = sum(bool(_DASHES.fullmatch(line.rstrip())) for line in lines)
        self.delimiters = 0
        self.has_dropped = False
        self.is_over = False

    def run(self) -> None:
        """Read all lines. `is_over`: a quote without marks began, so nothing below it is new."""
        while self.at < len(self.lines) and not self.is_over:
            line = self.lines[self.at]
            if not line.strip():
                self._keep_blank()
            elif not (self._quote(line) or (len(line) <= LINE_CAP and self._mark(line))):
                self._keep(line)
        if not self.is_over:
            self._settle()

    def _mark(self, line: str) -> bool:
        return (
            self._forwarded(line)
            or self._original(line)
            or self._header_block()
            or self._attribution()
            or self._signature(line)
        )

    def _keep(self, line: str) -> None:
        self.kept.append(line)
        self.at += 1

    def _keep_blank(self) -> None:
        """Blank lines around what was dropped become one."""
        if not self.has_dropped or (self.kept and self.kept[-1].strip()):
            self.kept.append("")
        self.at += 1

    def _keep_rest(self) -> bool:
        self.kept += self.lines[self.at :]
        self.at = len(self.lines)
        return True

    def _drop(self, upto: int) -> bool:
        self._settle()
        self.has_dropped = True
        self.at = upto
        return True

    def _end(self) -> bool:
        self.is_over = True
        return self._drop(len(self.lines))

    def _settle(self) -> None:
        """Padding above what is dropped goes with it; one blank line stays where there was any."""
        length = len(self.kept)
        while self.kept and _is_padding(self.kept[-1]):
            self.has_dropped = self.has_dropped or bool(self.kept[-1].strip())
            self.kept.pop()
        if self.kept and len(self.kept) < length:
            self.kept.append("")

    def _quote(self, line: str) -> bool:
        quoted = _QUOTED.match(line)
        if quoted and self.kept and _UNCLOSED.search(self.kept[-1][-LINE_CAP:]) and self._attribution():
            return True
        if not quoted and not (self.is_answer and _INITIALS.match(line)):
            return False
        bare = line[quoted.end() if quoted else 0 :][: LINE_CAP + 1]
        if not self.has_dropped and _FORWARDED.match(normalise(bare)):
            return self._keep_rest()
        if not self.is_answer and _is_attribution(bare):
            self.is_answer = True
        return self.is_answer and self._drop(self.at + 1)

    def _forwarded(self, line: str) -> bool:
        return bool(_FORWARDED.match(normalise(line))) and self._keep_rest()

    def _original(self, line: str) -> bool:
        if _REPLY_ABOVE.search(line):
            return self._end()
        if not _ORIGINAL.match(normalise(line)):
            return False
        return self._keep_rest() if self.hands_on else self._old_mail(self.at + 1)

    def _header_block(self) -> bool:
        """From, Sent, To, Subject as Outlook writes them above an old mail."""
        end = self._block_end(self.at)
        if end is None:
            return False
        return self._keep_rest() if self.hands_on else self._old_mail(end)

    def _old_mail(self, at: int) -> bool:
        """An old mail begins: marked line by line, then answers may stand in and under it, else to the end."""
        at = self._next(at)
        at = self._next(self._block_end(at) or at)
        for fold in range(_FOLDS + 1):
            if _is_attribution(" ".join(self.lines[at : at + fold + 1])):
                at = self._next(at + fold + 1)
                break
        if at < len(self.lines) and _QUOTED.match(self.lines[at]):
            self.is_answer = True
            return self._drop(at)
        return self._end()

    def _block_end(self, at: int) -> int | None:
        """Where a block of header labels that begins at a line ends."""
        found: set[str] = set()
        end = at
        for place in range(at, min(at + _BLOCK_LINES, len(self.lines))):
            label = _LABEL.match(self.lines[place][:LINE_CAP])
            if label is not None:
                found.add(str(label.lastgroup))
                end = place + 1
            elif place == at or not self.lines[place].strip():
                break
        return end if {"sent", "origin"} <= found and found & {"target", "topic"} else None

    def _attribution(self) -> bool:
        """ "On … wrote:", which may be folded: its last line decides, those above it are taken back."""
        folds = self._folds()
        if folds is None:
            return False
        below = self._next(self.at + 1)
        is_quoted = below < len(self.lines) and bool(_QUOTED.match(self.lines[below]))
        if is_quoted or self.is_reordered or below == len(self.lines):
            self.is_answer = True
            del self.kept[len(self.kept) - folds :]
            return self._drop(self.at + 1)
        is_dated = _DATE.search(normalise(" ".join(self.lines[self.at - folds : self.at + 1])))
        if not self.is_answer or not is_dated:
            return False
        del self.kept[len(self.kept) - folds :]
        return self._end()

    def _folds(self) -> int | None:
        """How many lines above this one belong to the attribution that ends here; None where none does."""
        if not _ENDING.search(normalise(self.lines[self.at][-80:])):
            return None
        above = 0
        while above < min(_FOLDS, len(self.kept)) and self.kept[-above - 1].strip():
            above += 1
        spelt = [" ".join(self.lines[self.at - folds : self.at + 1]) for folds in range(above + 1)]
        good = [folds for folds, text in enumerate(spelt) if _is_attribution(text)]
        dated = [
            folds for folds in good if _DATE.search(normalise(spelt[folds])) and (not folds or _begins(spelt[folds]))
        ]
        if not dated:
            return 0 if 0 in good else None
        return max((folds for folds in dated if _OPENING.match(normalise(spelt[folds]))), default=dated[0])

    def _signature(self, line: str) -> bool:
        """RFC 3676 §4.3; without its blank only where nothing else is cut by dashes. Foots of mailing lists too."""
        bare = line.rstrip()
        if not _DASHES.fullmatch(bare) and not _FOOT.fullmatch(bare):
            return False
        self.delimiters += 1
        if self.delimiters > _DELIMITERS:
            return False
        end = self._foot_end()
        size = end - self.at - 1
        if line == "-- ":
            return size <= _SIGNATURE_LINES and self._drop(end)
        if size > _BARE_SIGNATURE_LINES:
            return False
        foot = self.lines[self.at + 1 : end]
        if _DASHES.fullmatch(bare):
            return self.dashes == 1 and bool(foot and foot[0].strip()) and self._drop(end)
        return end == len(self.lines) and any(_LIST.search(each[:LINE_CAP]) for each in foot) and self._drop(end)

    def _foot_end(self) -> int:
        """The next line that is quoted or begins an old mail, or the end; a few lines ahead at most."""
        for place in range(self.at + 1, min(self.at + _SIGNATURE_LINES + 2, len(self.lines))):
            line = self.lines[place]
            if _QUOTED.match(line) or _ORIGINAL.match(line[:LINE_CAP]) or self._block_end(place):
                return place
            if _is_attribution(line) or (_begins(line) and _is_attribution(" ".join(self.lines[place : place + 2]))):
                return place
        return min(self.at + _SIGNATURE_LINES + 2, len(self.lines))

    def _next(self, at: int) -> int:
        """The next line that is not blank."""
        while at < len(self.lines) and not self.lines[at].strip():
            at += 1
        return at


_QUOTED: Final = re.compile(r"[ \t]{0,3}[>＞]+ ?")
_INITIALS: Final = re.compile(r"[A-ZА-Я]{2,3}>")
_RULE: Final = re.compile(r"[_\-=*]{10,}")
_FOOT: Final = re.compile(r"_{2,}")
_DASHES: Final = re.compile("--|[—–]{1,20}")
_LIST: Final = re.compile(r"mailing list|mailman|unsubscribe", re.I)
_PHONE: Final = re.compile(words.SENT_FROM_PHONE, re.I)
_REPLY_ABOVE: Final = re.compile(words.REPLY_ABOVE, re.I)
_FORWARDED: Final = re.compile(rf"\s*+-{{2,}}\s?(?:{words.FORWARDED_MESSAGE})|\s*+begin forwarded message", re.I)
_ORIGINAL: Final = re.compile(
    rf"\s*+-{{2,}}\s?(?:{words.ORIGINAL_MESSAGE}|.{{0,200}}\s(?:{words.WROTE}))\s?-{{2,}}", re.I
)
_LABEL: Final = re.compile(
    rf"\s*+\*?(?:(?P<origin>{words.FROM})|(?P<sent>{words.SENT})|(?P<target>{words.TO})|(?P<topic>{words.SUBJECT})"
    rf"|(?P<copy>{words.COPY}))\*?\s?[:：]",
    re.I,
)
_SAID: Final = re.compile(
    rf"(?:(?<![^\W\d_])(?:{words.WROTE})(?!\w)|{words.WROTE_UNSPACED}).{{0,160}}:\Z|\A(?:{words.QUOTING})\s.+:\Z", re.I
)
_ADDRESSED: Final = re.compile(r"[<(\[][^<>()\[\]\s@]+@[^<>()\[\]\s]+[>)\]]\s?:\Z")
_UNSIGNED: Final = re.compile(rf"<[^<>\s]+@[^<>\s]+> (?:{words.WROTE})\Z", re.I)
_ENDING: Final = re.compile(rf"(?::|@\S+> (?:{words.WROTE}))[ \t*]*\Z", re.I)
_UNCLOSED: Final = re.compile(r"<[^<>]*\Z")
_DATE: Final = re.compile(r"(?:19|20)\d\d|\d{1,2}[./-]\s?\d{1,2}[./-]\s?\d{2}|\d{1,2}[:.h]\d\d")
_OPENING: Final = re.compile(r"(?:on|at|am|el|le|em|il|op|den|dne|vào|pada|w dniu|في|בתאריך|在)\s.{0,80}\d", re.I)
_BEGINS: Final = re.compile(rf"{_OPENING.pattern}|(?:\d{{1,4}}\D|[^\W\d_]{{2,12}}\.?,? \d).{{0,80}}\d", re.I)
_NAMED_FIRST: Final = re.compile(r"[^<>]{0,80}<[^<>\s]+@[^<>\s]+>.{0,60}\d")


def _is_padding(line: str) -> bool:
    """What programs put between the answer and the quote: blank lines, a rule, the phone's advertisement."""
    if len(line) > _PADDING_CHARS:
        return False
    bare = line.strip()
    return not bare or bool(_RULE.fullmatch(bare) or _PHONE.match(bare))


def _begins(text: str) -> bool:
    text = normalise(text[:LINE_CAP]).strip(" *")
    return bool(_BEGINS.match(text) or _NAMED_FIRST.match(text))


def _is_attribution(text: str) -> bool:
    """Whether a text, its lines joined, says who wrote what follows."""
    if len(text) > LINE_CAP:
        return False
    text = normalise(text).strip(" \t*")
    if not text.endswith(":"):
        return bool(_UNSIGNED.search(text) and _OPENING.match(text))
    return bool(_SAID.search(text) or (_ADDRESSED.search(text) and _DATE.search(text)))
