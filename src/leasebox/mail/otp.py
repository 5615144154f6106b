"""The codes and links of a mail, with how sure we are and why.

A code is a shape (otp_shapes) that the words around it (otp_words) call a code. Words are weighed, not counted: the
nearest name decides what a number is; what only looks like a code stays below one half. Pure, total and bounded: each
text is cut at otp_source.TEXT_CAP, and only windows around at most otp_shapes.SHAPES_CAP candidates are read.
"""

import math
import re
from bisect import bisect_left
from typing import Final

import msgspec

from leasebox.mail.html import HtmlText, read_html
from leasebox.mail.links import FoundLink, find_links
from leasebox.mail.otp_shapes import Shape, find_shapes
from leasebox.mail.otp_source import SUBJECT_CAP, TEXT_CAP, blot, is_forward, is_reply, normalise, without_quotes
from leasebox.mail.otp_trie import Mark
from leasebox.mail.otp_words import LABELS

THRESHOLD: Final = 0.5
"""Confidence from which a code or link is offered as the one of the mail."""
FLOOR: Final = 0.2
"""Confidence below which a candidate is not even listed."""
LISTED_CAP: Final = 10
EVIDENCE_CAP: Final = 200


class Content(msgspec.Struct, frozen=True):
    """What of a mail is read: the decoded subject, the From header or address, and its two bodies (empty if absent)."""

    subject: str
    sender: str
    text: str
    html: str


class FoundCode(msgspec.Struct, frozen=True):
    """code: as it is to be typed (digits joined). evidence: its line, cut to 200. visible: people see it."""

    code: str
    confidence: float
    evidence: str
    visible: bool


class Extraction(msgspec.Struct, frozen=True):
    """Best first. otp_code and verification_link are None when nothing reaches THRESHOLD."""

    codes: tuple[FoundCode, ...]
    links: tuple[FoundLink, ...]
    otp_code: str | None
    verification_link: str | None


def extract(content: Content) -> Extraction:
    """Find the codes and links of a mail. Pure, total, bounded; the best unquoted ones come first."""
    subject = " ".join(normalise(content.subject[:SUBJECT_CAP]).split())
    text = normalise(content.text[:TEXT_CAP])
    page = read_html(content.html) if content.html else None
    codes = _codes(subject, text, page)
    links = find_links(subject, content.sender, text, page)
    return Extraction(
        codes=codes,
        links=links,
        otp_code=codes[0].code if codes and codes[0].confidence >= THRESHOLD else None,
        verification_link=links[0].url if links and links[0].confidence >= THRESHOLD else None,
    )


class _Source(msgspec.Struct):
    """A text to search, whether people see it, and what its scores are lowered by."""

    text: str
    visible: bool
    handicap: float


def _codes(subject: str, text: str, page: HtmlText | None) -> tuple[FoundCode, ...]:
    best: dict[str, FoundCode] = {}
    seen_twice: set[str] = set()
    for source in _sources(subject, text, page):
        if " #" not in source.text and any(c.confidence >= _SURE and c.code in source.text for c in best.values()):
            continue
        for found in _search(source, subject):
            known = best.get(found.code)
            if known is None or found.confidence > known.confidence:
                visible = found.visible or (known is not None and known.visible)
                best[found.code] = msgspec.structs.replace(found, visible=visible) if visible else found
            if known is not None:
                seen_twice.add(found.code)
    ranked = sorted(best.values(), key=lambda c: (c.confidence, c.code in seen_twice), reverse=True)
    return tuple(ranked[:LISTED_CAP])


def _sources(subject: str, text: str, page: HtmlText | None) -> list[_Source]:
    """The bodies, each under its subject. Quoted and hidden text is only asked when the rest of the mail allows it."""
    seen = normalise(page.text[:TEXT_CAP]) if page else ""
    sources = [_Source(f"{subject}\n{without_quotes(seen, subject)}", True, 0.0)] if seen else []
    if text.strip() and text.strip() != seen:
        sources.append(_Source(f"{subject}\n{without_quotes(text, subject)}", not seen, 0.0))
    if page and page.quoted and (is_forward(page.quoted) or not is_reply(subject)):
        quoted = without_quotes(normalise(page.quoted[:TEXT_CAP]), "fwd:")
        sources.append(_Source(f"{subject}\n{seen[-300:]}\n{quoted}", True, 0.3))
    if page and page.hidden:
        sources.append(_Source(f"{subject}\n{normalise(page.hidden[:TEXT_CAP])}", False, 0.8))
    return sources or [_Source(subject, True, 0.0)]


_BOUND: Final = re.compile(r"^[ \t]*@([a-z0-9-]+(?:\.[a-z0-9-]+)+) #([0-9A-Za-z]{4,10})(?=[ \t]|%|$)", re.M)
_SENTENCE_END: Final = re.compile(r"[.!?;](?=[\s)\]\"'”»])|[。！？；।]")
_NUMBER: Final = re.compile(r"[0-9]{3}|^\W*[0-9]")
_WORD: Final = re.compile(r"[^\W\d_]+")
_COPULAS: Final = "is|are|ist|lautet|est|es|é|è|to|är|er|on|jest|este|είναι|هو|adalah|ialah|là|是|为|為|は|는|은|है"
_COPULA: Final = re.compile(rf"^\W*(?:{_COPULAS})\b")
_TOLD: Final = re.compile(rf"^\W*(?:(?:{_COPULAS})\W*)?$")
_ENDS_TOLD: Final = re.compile(rf"[0-9]\s*(?:[:：=]|\b(?:{_COPULAS})\b)\W*$")
_PAST: Final = re.compile(r"\b(?:was|were|has been|had|wurde|fue|fut|foi|è stat[oa]|werd|został|был[аои]?)\b")
_FILLERS: Final = frozenset(
    f"{_COPULAS}|for|your|the|this|below|following|here|of|in|at|de|du|le|la|el|da|do|für|sie|ihr|ihre|von|der|die|das|dein"
    "|para|pour|per|til|för|voor|do|dla|для|за|ваш|suivant|siguiente|seguinte|seguente|folgende|now".split("|")
)
_OWNED: Final = (
    r"(?:your|tu|su|tus|votre|ton|ihre?n?|deine?n?|uw|je|jouw|din|ditt|seu|sua|teu|tuo|suo|vostro|twój|váš|ваш|твой|твій|sinun"
    r"|anda|sizin)"
)
_POSSESSIVE: Final = re.compile(rf"\b{_OWNED}\b[^\n.!?]*$|(?:您的|你的|あなたの)[^\n。]*$")
_IS_YOURS: Final = re.compile(rf"^\W*(?:{_COPULAS})?\W*{_OWNED}\b")
_IS_ANY: Final = re.compile(rf"^\W*(?:{_COPULAS})\s+(?:an?|eine?|une?|una|um|uma|not)\b")
_NEXT_VALUE: Final = re.compile(r"[^\n.]{0,10}?(?<![0-9a-z])(?=[a-z-]*[0-9])[0-9a-z]{3}")
_REACH: Final = 160
_BIAS: Final = 3.0
_SURE: Final = 0.9
"""Confidence from which a code that stands in another text of the mail as well need not be weighed there again."""
_NAMES: Final = {"strong": 3.2, "code": 2.2, "weak": 1.3}


def _search(source: _Source, subject: str) -> list[FoundCode]:
    """Codes of one text above FLOOR."""
    text = source.text
    bound = [
        FoundCode(m[2], round(0.99 - source.handicap / 4, 3), m[0].strip(), source.visible)
        for m in _BOUND.finditer(text)
    ]
    blotted = blot(text)
    shapes = find_shapes(blotted)
    if not shapes:
        return bound
    low = blotted.lower()
    if len(low) != len(text):
        return bound
    marks = _windows(low, shapes)
    head = len(subject)
    subject_kinds = {m.kind for m in marks if m.start < head}
    about = 0.6 * ("strong" in subject_kinds) + 0.3 * ("auth" in subject_kinds)
    found = []
    for shape in shapes:
        score = _score(low, shape, marks, about) + about - source.handicap
        confidence = 1 / (1 + math.exp(-1.3 * max(-20.0, min(20.0, score))))
        if confidence >= FLOOR:
            found.append(FoundCode(shape.code, round(confidence, 3), _evidence(text, shape), source.visible))
    return bound + found


def _windows(low: str, shapes: list[Shape]) -> list[Mark]:
    """The marks near the candidates and in the subject (the first line), each place read once."""
    marks: list[Mark] = []
    read = 0
    spans = [(0, min(len(low), low.find("\n") + 1 or len(low)))]
    spans += [(max(0, s.start - _REACH), min(len(low), s.end + 120)) for s in shapes]
    for wanted, end in spans:
        start = max(wanted, read)
        if start < end:
            marks += LABELS.find(low, start, end)
            read = end
    return marks


def _score(low: str, shape: Shape, marks: list[Mark], about: float) -> float:
    """The evidence for one candidate, in parts that add up; 0 is as likely as not."""
    split = bisect_left(marks, (shape.start,))
    left = marks[bisect_left(marks, (shape.start - _REACH,)) : split][::-1]
    if left and left[0].end > shape.start:
        del left[0]
    right = marks[split : bisect_left(marks, (shape.end + 120,))]
    name_left = _left_name(low, shape, left)
    name_right = _right_name(low, shape, right)
    if name_left < 0 or (name_right < 0 and name_left <= 0):
        return -5.0
    named = max(name_left, name_right) + 0.3 * max(0.0, min(name_left, name_right))
    if named <= 0 and not any(m.kind == "do" for m in left) and not any(m.kind == "do" for m in right):
        return -5.0
    asked = _asked(low, shape, left, right, about)
    if shape.kind in ("mixed", "letters", "dashed", "prefixed") and named <= 0:
        return -5.0
    if shape.kind == "letters" and not (shape.alone or name_right > 0 or _is_close(low, shape, left)):
        return -5.0
    alone = 0.8 if shape.alone else 0.0
    return shape.weight + named + asked + alone - _against(low, shape, left + right) - _BIAS


def _left_name(low: str, shape: Shape, left: list[Mark]) -> float:
    """What the words before it call it: the weight of the nearest name, -1 if that names something else."""
    for at, mark in enumerate(left):
        gap = low[mark.end : shape.start]
        if mark.kind in ("other", "mild"):
            if _names_other(low, shape, gap, mark, left[at + 1 :]):
                return -1.0
        elif mark.kind in _NAMES:
            if at + 1 < len(left) and _is_compound(low, left[at + 1], mark):
                return 0.0 if _NUMBER.search(gap) or _SENTENCE_END.search(gap) else -1.0
            return _weigh(low, shape, mark, gap, left)
    return 0.0


def _weigh(low: str, shape: Shape, mark: Mark, gap: str, left: list[Mark]) -> float:
    """How much a name before a candidate counts: less over a distance, more if it says whose it is and what."""
    weight = _NAMES[mark.kind] * _nearness(gap, shape)
    owned = bool(_POSSESSIVE.search(low, max(0, mark.start - 30), mark.start)) and not _SENTENCE_END.search(gap)
    if _NUMBER.search(gap):
        return (weight + 0.6 * owned) * (0.85 if _ENDS_TOLD.search(gap) else 0.5)
    if not shape.alone:
        foreign = sum(word not in _FILLERS for word in _WORD.findall(gap))
        weight *= (1.0, 0.9, 0.8)[foreign] if foreign < 3 else 0.65
    if _PAST.search(gap):
        weight *= 0.5
    if _TOLD.match(gap):
        weight += 0.2 + 0.3 * any(m.kind in ("auth", "do", "strong") for m in left)
    return weight + 0.6 * owned


def _names_other(low: str, shape: Shape, gap: str, mark: Mark, further: list[Mark]) -> bool:
    """Whether a name for other numbers, `gap` before the candidate, is this candidate's name."""
    if _NUMBER.search(gap) or _SENTENCE_END.search(gap) or gap.count("\n") > 1:
        return False
    words = len(_WORD.findall(gap))
    if "\n" in gap and (words or (mark.kind == "mild" and shape.alone) or _ends_subject(low, shape, mark)):
        return False
    if words > 3:
        return False
    claims = ("strong", "code", "do") if mark.kind == "mild" else ("strong", "code")
    if mark.kind == "mild" or _COPULA.search(gap) or words > 1:
        for other in further:
            between = low[other.end : mark.start]
            if _SENTENCE_END.search(between) or _NUMBER.search(between) or "\n" in between:
                break
            if other.kind in claims:
                return False
    return True


def _ends_subject(low: str, shape: Shape, mark: Mark) -> bool:
    """Whether a name stands in the first line and what follows is a sentence: "Your account\\n481920 is your code"."""
    return not shape.alone and mark.end <= low.find("\n")


def _is_compound(low: str, first: Mark, second: Mark) -> bool:
    """Whether two names stand together as one, such as "order code": then the first says what it is."""
    if low[first.end : second.start] not in (" ", "-", "") or low[first.start : first.end] == "id":
        return False
    return first.kind == "other" or (first.kind == "mild" and second.kind == "weak")


def _right_name(low: str, shape: Shape, right: list[Mark]) -> float:
    """What the words after it call it: as _left_name, within its sentence."""
    for mark in right:
        gap = low[shape.end : mark.start]
        if _SENTENCE_END.search(gap) or _NUMBER.search(gap) or gap.count("\n") > 1 or len(gap) > 80:
            return 0.0
        if mark.kind in _NAMES:
            behind = low[mark.end : mark.end + 14]
            if _NEXT_VALUE.match(behind) or ("\n" in gap and behind[:1] in ":："):
                return 0.0
            weight = (
                _NAMES[mark.kind] * (0.9 if len(gap) < 40 else 0.7) * (0.7 if "\n" in gap or " and " in gap else 1.0)
            )
            if _IS_ANY.match(gap):
                weight *= 0.4
            return weight + (0.6 if _IS_YOURS.match(gap) else 0.0)
        if mark.kind == "other" and len(gap) < 20 and "\n" not in gap and _COPULA.match(gap):
            return -1.0
    return 0.0


def _nearness(gap: str, shape: Shape) -> float:
    """How much a name counts over a distance: line ends part what is inline, but lead to what stands alone."""
    near = 1.0 if len(gap) <= 25 else 0.88 if len(gap) <= 60 else 0.7
    sentences = len(_SENTENCE_END.findall(gap))
    lines = gap.count("\n")
    if shape.alone:
        return near * (0.85**sentences) * (1.0 if lines <= 2 else 0.85)
    return near * (0.3**sentences) * (0.75**lines)


def _asked(low: str, shape: Shape, left: list[Mark], right: list[Mark], about: float) -> float:
    """Whether it is to be typed, and for signing in."""
    does = next((m for m in left if m.kind == "do" and _reaches(low, m.end, shape.start, shape)), None)
    after = [m for m in right if _reaches(low, shape.end, m.start, shape)]
    does = does or next((m for m in after if m.kind == "do"), None)
    auth = any(m.kind == "auth" and _reaches(low, m.end, shape.start, shape) for m in left)
    auth = auth or any(m.kind == "auth" for m in after)
    auth = auth or (does is not None and about > 0)
    close = does is not None and does.end <= shape.start and len(_WORD.findall(low[does.end : shape.start])) <= 2
    return (0.9 if does else 0.0) + (0.6 if auth else 0.0) + (1.3 if close and auth and not shape.alone else 0.0)


def _reaches(low: str, start: int, end: int, shape: Shape) -> bool:
    gap = low[start:end]
    return len(gap) <= 110 and (shape.alone or not _SENTENCE_END.search(gap)) and gap.count("\n") <= 2


def _against(low: str, shape: Shape, near: list[Mark]) -> float:
    """What speaks against it near by: that it no longer counts, or that the talk is of shopping or meetings."""
    against = 0.0
    for mark in near:
        gap = low[mark.end : shape.start] if mark.end <= shape.start else low[shape.end : mark.start]
        if mark.kind == "old" and not _SENTENCE_END.search(gap) and "\n" not in gap:
            against = max(against, 2.5)
        elif mark.kind == "deal" and gap.count("\n") <= 2:
            against = max(against, 2.6)
    return against


def _is_close(low: str, shape: Shape, left: list[Mark]) -> bool:
    return any(m.kind in ("strong", "code") and len(_WORD.findall(low[m.end : shape.start])) <= 1 for m in left[:2])


def _evidence(text: str, shape: Shape) -> str:
    """The line of the candidate; where it stands alone, with the line before it."""
    start = text.rfind("\n", 0, shape.start) + 1
    if shape.alone and start > 1:
        start = text.rfind("\n", 0, len(text[:start].rstrip())) + 1
    end = text.find("\n", shape.end)
    end = len(text) if end < 0 else end
    start = max(start, shape.start - EVIDENCE_CAP // 2)
    return " ".join(text[start : min(end, start + EVIDENCE_CAP)].split())
