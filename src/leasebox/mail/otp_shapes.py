"""What a code can look like, and what only looks like one: shapes of digits and letters, judged by their neighbours."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

SHAPES_CAP: Final = 250
"""Candidates that are weighed in one text; the rest are not looked at."""


class Shape(NamedTuple):
    """A candidate at [start, end): the code as it would be typed, the kind of shape, and how much it looks like one."""

    start: int
    end: int
    code: str
    kind: str
    weight: float
    alone: bool


def find_shapes(text: str) -> list[Shape]:
    """Candidates of a text in which links and addresses are already blotted out. Linear, at most SHAPES_CAP."""
    found: list[Shape] = []
    for shape in _shapes(text):
        found.append(shape)
        if len(found) >= SHAPES_CAP:
            break
    return found


_CANDIDATE: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"(?P<cells>[0-9A-Z](?:[ \n][0-9A-Z]){3,9}(?![ ][0-9]))"
    r"|(?<![0-9][ -])(?P<groups>[0-9]{2,5}(?P<gap>[ -])[0-9]{2,5}(?:(?P=gap)[0-9]{2,5}){0,2}(?![ -][0-9]))"
    # One letter or two are a brand's (G-123456, FB-77120), which its form has printed already; more belong to the code.
    r"|(?P<prefixed>[A-Z]-[0-9]{4,8}|[A-Z]{2}-[0-9]{5,8})"
    r"|(?P<dashed>[0-9A-Z]{3,5}-[0-9A-Z]{3,5}(?:-[0-9A-Z]{3,5})?|[A-Z]{2,6}-[0-9]{4,8})"
    r"|(?P<digits>[0-9]{4,10})"
    r"|(?P<mixed>(?:[A-Za-z]{1,9}[0-9]|[0-9]{1,9}[A-Za-z])[0-9A-Za-z]{2,8})"
    r"|(?P<letters>[A-Z]{4,10})"
    r")(?![0-9A-Za-z])"
)
_UNIT: Final = re.compile(
    r"\s?(?:年|月|日|時|时|点|分|秒|円|元|块|원|명|개|년|월|일|시|분|€|\$|£|₽|₴|₹|°|kg\b|km\b|mb\b|gb\b|kb\b|kwh\b|kj\b|kcal|usd\b|eur\b"
    r"|gbp\b|inr\b|chf\b|jpy\b|btc\b|pln\b|zł|грн|руб|tl\b|kr\b|yen\b|hpa\b|px\b|mm\b|cm\b|ml\b|m\b|uhr\b|hrs?\b|hours?\b|h\b|min"
    r"|seconds?\b|secs?\b|sekund|days?\b|steps\b|calories|people|users|members|views|likes|followers|points|pts\b|miles|lines"
    r"|plants|gardens|rows|words|new\b|times\b|others\b|kilometer|stunden|heures|horas|ore\b|บาท|riyal|ريال|đ\b)"
)
_MONEY: Final = re.compile(
    r"(?:usd|eur|inr|gbp|chf|jpy|brl|mxn|rs|rp|r\$|nt\$|us\$|kr|pln|try|tl|rub|cny|rmb|krw|vnd|idr|btc|ab|cvr|ean) ?$"
)
_LEADS: Final = re.compile(
    r"[:：=\"'“”«»„「『\[(【>—–|-]\s*$|(?:is|ist|lautet|est|es|é|è|to|är|er|on|jest|is now|este|ialah|adalah|هو|είναι"
    r"|codes?|kode?|kód|koodi|код|otp|pin|tan|passcode|passwort|token|code est|the text|text|코드를?|は)\s+$"
)
_TRAILS: Final = re.compile(r"[\"'”»』」\])】]?\s*(?:is|ist|es|est|é|è|—|–|-|jest|to|är|er)\s")
_ADORNMENT: Final = " \t*_-=~|>[](){}«»“”\"'`•·:.#「」『』【】"
_REFERENCE: Final = re.compile("[A-Z]+-[0-9]+")
_ORDERED: Final = ("0123456789", "1234567890")


def _shapes(text: str) -> Iterator[Shape]:
    for match in _CANDIDATE.finditer(text):
        kind = match.lastgroup or ""
        kind = "groups" if kind == "gap" else kind
        start, end = match.span()
        if kind in ("mixed", "letters", "dashed") and not _is_offered(text, start, end):
            continue
        judged = _judge(match[0], kind)
        if judged and not _is_part(text, start, end):
            code, weight = judged
            yield Shape(start, end, code, kind, weight, _is_alone(text, start, end))


def _judge(raw: str, kind: str) -> tuple[str, float] | None:
    """The code and its weight, None if the shape rules itself out."""
    if kind == "cells":
        code = raw.replace(" ", "").replace("\n", "")
        if code.isdigit():
            return None if any(code in row for row in _ORDERED) else (code, 1.2)
        return (code, 0.6) if any(c.isdigit() for c in code) else None
    if kind == "groups":
        return _judge_groups(raw)
    if kind == "prefixed":
        return raw.split("-")[1], 0.6
    if kind == "digits":
        return raw, _digits_weight(raw)
    if kind == "dashed" and not any(c.isdigit() for c in raw):
        return raw, 0.0
    if kind == "mixed" and raw not in (raw.upper(), raw.lower()):
        return raw, 0.0
    if kind == "dashed" and _REFERENCE.fullmatch(raw):
        return raw, 0.4
    return raw, {"dashed": 0.7, "mixed": 0.4, "letters": -0.2}[kind]


def _judge_groups(raw: str) -> tuple[str, float] | None:
    groups = re.split("[ -]", raw)
    code = "".join(groups)
    sizes = [len(g) for g in groups]
    if not 4 <= len(code) <= 10 or len(set(sizes[:-1])) > 1 or sizes[-1] > sizes[0]:
        return None
    if sizes[-1] < sizes[0] and len(sizes) < 3:
        return None
    if "-" in raw and sizes == [2, 2, 2] and _is_date(*(int(g) for g in groups)):
        return code, -0.8
    if sizes == [4, 4] and _is_year(groups[0]) and _is_year(groups[1]):
        return None
    return code, 1.3 if sizes in ([3, 3], [2, 2, 2], [4, 4]) else 0.8


def _digits_weight(code: str) -> float:
    if len(code) == 4 and _is_year(code):
        return -0.9
    if len(code) == 8 and _is_year(code[:4]) and 1 <= int(code[4:6]) <= 12 and 1 <= int(code[6:]) <= 31:
        return -0.6
    if code.endswith("000"):
        return 0.0
    return {4: 0.6, 5: 0.7, 6: 1.0, 7: 0.6, 8: 0.8}.get(len(code), 0.2)


def _is_year(code: str) -> bool:
    return "1900" <= code <= "2099"


def _is_date(first: int, second: int, third: int) -> bool:
    return (first <= 31 and 1 <= second <= 12) or (first <= 12 and 1 <= second <= 31) or (second <= 12 and third <= 31)


def _is_part(text: str, start: int, end: int) -> bool:
    """Whether the neighbours make it a piece of something longer: an amount, a phone, a path, a mask, a measure."""
    before, prior = text[start - 1 : start], text[start - 2 : start - 1]
    after, later = text[end : end + 1], text[end + 1 : end + 2]
    if before and (before in "$€£¥₹₩₽₺+/\\@&=?%~•#" or (before in ".,:" and prior.isdigit())):
        return True
    if before == "-" and prior.isalnum():
        return True
    if before == " " and prior.isdigit() and end - start != 6:
        return True
    if before == "*" and after != "*" and (prior == "*" or after != "_"):
        return True
    if after and (after in "%°/\\@&=~#" or (after in ".,:" and later.isdigit()) or (after == "-" and later.isalnum())):
        return True
    if after == "*" and later == "*" and before not in ("*", "_"):
        return True
    low = text[end : end + 12].lower()
    return bool(_UNIT.match(low)) or bool(_MONEY.search(text[max(0, start - 5) : start].lower()))


def _is_offered(text: str, start: int, end: int) -> bool:
    """Letters are words unless something presents them: a colon, quotes, "is", or a line of their own."""
    lead = text[max(0, start - 14) : start].lower()
    if _LEADS.search(lead) or _TRAILS.match(text, end, end + 8):
        return True
    if _is_alone(text, start, end):
        return True
    raw = text[start:end]
    return any(c.isdigit() for c in raw) and (raw.isupper() or "-" in raw)


def _is_alone(text: str, start: int, end: int) -> bool:
    """Whether nothing else but ornament stands on its lines."""
    line_start = text.rfind("\n", max(0, start - 40), start) + 1 if start else 0
    if not line_start and start > 40:
        return False
    line_end = text.find("\n", end, end + 41)
    if line_end < 0:
        if len(text) - end > 40:
            return False
        line_end = len(text)
    return not text[line_start:start].strip(_ADORNMENT) and not text[end:line_end].strip(_ADORNMENT)
