"""The link that verifies an address, signs in, resets a password or accepts an invitation; never the logo beside it.

A link is judged by what it says, by the sentence before it, by the words and tokens of its address, and by what the
mail is about. We never fetch one: a tracker's link stays as it is, and its target is only shown if it stands in it.
"""

import base64
import math
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import msgspec

from leasebox.mail.html import HtmlText
from leasebox.mail.otp_link_words import LINK_LABELS
from leasebox.mail.otp_source import TEXT_CAP, normalise, without_quotes
from leasebox.mail.otp_trie import Mark

LINKS_CAP: Final = 200
"""Links of one mail that are weighed; the rest is not looked at."""
LISTED_CAP: Final = 10
FLOOR: Final = 0.2
URL_CAP: Final = 4_000
EVIDENCE_CAP: Final = 200


class FoundLink(msgspec.Struct, frozen=True):
    """url: as it stands in the mail, references decoded. target: the address that stands within it, if one does.

    evidence: the words before and in it. visible: seen by who reads the mail. text: what the link says.
    host_matches_sender: whether the url itself (not its target) is on the sender's domain or a subdomain of it.
    """

    url: str
    confidence: float
    evidence: str
    visible: bool
    text: str
    host_matches_sender: bool
    target: str | None


def find_links(subject: str, sender: str, text: str, page: HtmlText | None) -> tuple[FoundLink, ...]:
    """Links that may be the one to follow, best first. `text` is normalised; pure, total, bounded by LINKS_CAP."""
    about = _about(subject)
    best: dict[str, tuple[float, _Place]] = {}
    for place in _places(subject, text, page):
        known = best.get(place.url)
        if known and known[0] > 0:
            continue
        score = _score(place, about)
        if known is None or score > known[0]:
            best[place.url] = (score, place)
    ranked = sorted(best.values(), key=lambda pair: -pair[0])
    links = (_found(score, place, sender) for score, place in ranked[:LISTED_CAP])
    return tuple(link for link in links if link.confidence >= FLOOR)


class _Place(msgspec.Struct):
    """A link where it stands: what it says, what is said before it, and how far down (0 to 1)."""

    url: str
    host: str
    path: str
    target: str | None
    label: str
    before: str
    visible: bool
    position: float


_URL: Final = re.compile(r"https?://[^\s<>\"'|`\\^{}\x00-\x1f，。）」】、；]++", re.I)
_TRAILING: Final = ".,;:!?*_"
_BEFORE_CAP: Final = 160
_BIAS: Final = 2.6
_GO_LABEL: Final = 2.2
_GO_BEFORE: Final = 1.8
_HOPELESS: Final = -1.1
_PIECES_CAP: Final = 20
_SHORTEST: Final = 12
_MARKDOWN: Final = re.compile(r"\[([^\[\]\n]{1,80})\]\($")
_SENTENCE: Final = re.compile(r"[.!?](?=\s)|[。！？]")
_NESTED: Final = re.compile(r"https?:/{1,2}[a-z0-9]", re.I)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,2000}={0,2}")
_URLSAFE: Final = str.maketrans("-_", "+/")
_RAW_ADDRESS: Final = re.compile(rb"https?://[!#-&(-;=?-\[\]-~]{3,2000}")
_ONWARD: Final = frozenset(
    "continueurl continue next return returnto returnurl returnuri callback callbackurl redirecturi redirectto"
    " state".split()
)
_NAMED_TOKEN: Final = re.compile(r"[?&](?:\w*(?:token|code|key|otp|pin|hash|sig)|t|k|h)=[0-9A-Za-z_-]{5}", re.I)
_DRAWN: Final = re.compile(
    r"(?<![0-9A-Za-z_-])(?=[A-Za-z_-]*+[0-9])(?=[0-9_-]*+[A-Za-z])(?![a-z]+[_-]?[0-9]{1,4}(?![0-9A-Za-z]))[0-9A-Za-z_-]{7,}"
)
_LONG_PIECE: Final = re.compile(r"[0-9A-Za-z_-]{20,}+")
_PARTS: Final = re.compile(r"https?://([^/?#\s\\]+)([^?#]*)", re.I)
_MAY_NEST: Final = re.compile(r"https?(?:://?|%3a)|[0-9A-Za-z+/_-]{16}", re.I)
_FILE: Final = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|css|js|ico|ics|pdf|woff2?)$", re.I)
_GO_PATH: Final = re.compile(
    r"verif|confirm|activat|validat|magic|reset|invit|accept|opt-?in\b|sign-?in|log-?in|auth|token|regist|sign-?up|passw"
    r"|unlock|approve|oobcode|ticket|finish|callback|recover|bestaet|aktivier|confirma|verifica|activ"
)
_NO_PATH_HARD: Final = re.compile(
    r"unsub|opt-?out|cancel|deny|reject|decline|abuse|abmeld|desabon|uitschrij|resubscri|logo\b|tuiding|not-?me"
)
_NO_PATH: Final = re.compile(
    r"preferences|settings|privacy|terms|legal|\bhelp|support|\bfaq|blog|orders?\b|invoice|survey|review|\bshare|download"
    r"|pricing|features|\babout|\bjobs?\b|alerts|notifications?\b|impressum|datenschutz|\bagb\b|track\b|receipt|docs?/"
)
_DOOR: Final = re.compile(r"^[^?#]*/(?:log-?in|sign-?in|account|dashboard)/?(?:[?#]|$)")
"""A page where anybody may sign in: what it carries is where to go after that."""
_SECOND_LEVEL: Final = frozenset(["ac", "co", "com", "edu", "gob", "gov", "go", "ne", "net", "nom", "or", "org"])


def _places(subject: str, text: str, page: HtmlText | None) -> Iterator[_Place]:
    """Anchors first, then bare addresses of the visible text and of the plain text; quoted ones are left out."""
    count = 0
    for place in _raw_places(subject, text, page):
        if place is not None:
            yield place
            count += 1
            if count >= LINKS_CAP:
                return


def _raw_places(subject: str, text: str, page: HtmlText | None) -> Iterator[_Place | None]:
    shown_by_page = page is not None and bool(page.text)
    if page:
        for anchor in page.anchors:
            if not anchor.quoted:
                before = page.text[max(0, anchor.offset - _BEFORE_CAP) : anchor.offset]
                label = " ".join(f"{anchor.text} {anchor.alt} {anchor.title}".split())
                place = _place(anchor.href, label, before, anchor.position)
                if place:
                    place.visible = anchor.visible
                yield place
        yield from _bare(without_quotes(page.text[:TEXT_CAP], subject))
    for place in _bare(without_quotes(text, subject)):
        if place:
            place.visible = not shown_by_page
        yield place


def _bare(text: str) -> Iterator[_Place | None]:
    """Addresses that stand in a text as such, or in its Markdown."""
    if "://" not in text:
        return
    scale = max(1, len(text))
    for match in _URL.finditer(text):
        before, label = text[max(0, match.start() - _BEFORE_CAP) : match.start()], ""
        markdown = _MARKDOWN.search(before)
        if markdown:
            label, before = markdown[1], before[: markdown.start()]
        yield _place(_trimmed(match[0]).replace("&amp;", "&"), label, before, match.start() / scale)


def _trimmed(url: str) -> str:
    """Without the stops of the sentence that it ends, nor a bracket that it did not open."""
    end = len(url)
    while (
        end > len(url) - 20
        and end
        and (
            url[end - 1] in _TRAILING
            or (url[end - 1] == ")" and "(" not in url[:end])
            or (url[end - 1] == "]" and "[" not in url[:end])
        )
    ):
        end -= 1
    return url[:end]


def _place(url: str, label: str, before: str, position: float) -> _Place | None:
    parts = _PARTS.match(url) if len(url) <= URL_CAP else None
    if not parts:
        return None
    host = parts[1].rpartition("@")[2].partition(":")[0].lower()
    return _Place(url, host, parts[2], find_target(url), label, before, True, position)


def find_target(url: str) -> str | None:
    """The address that stands in a tracker's link: as a query value, in base64, or as an encoded path segment.

    None where there is none, and for where a site goes on by itself after its work is done ("next", "continue").
    """
    head, _, query = url.partition("?")
    if not _MAY_NEST.search(url, 8):
        return None
    values = [
        value
        for name, _, value in (pair.partition("=") for pair in query.split("#")[0].split("&")[:_PIECES_CAP])
        if name.lower().replace("_", "") not in _ONWARD
    ]
    segments = head.split("/")[3 : 3 + _PIECES_CAP]
    plain = _NESTED.search(head, 8)
    for piece in (*values, *segments):
        found = _hidden_address(piece)
        if found:
            return found
    return url[plain.start() :] if plain else None


def _hidden_address(piece: str) -> str | None:
    if len(piece) < _SHORTEST:
        return None
    opened = unquote(piece)
    if _NESTED.match(opened):
        return opened[:URL_CAP]
    if _BASE64.fullmatch(opened):
        body = opened.rstrip("=").translate(_URLSAFE)
        try:
            raw = base64.b64decode(body[: len(body) - (len(body) % 4 == 1)] + "=" * (-len(body) % 4))
        except ValueError:
            return None
        found = _RAW_ADDRESS.search(raw)
        return found[0].decode("ascii") if found else None
    return None


def _score(place: _Place, about: float) -> float:
    """The evidence for one link, in parts that add up; 0 is as likely as not."""
    kinds = {mark.kind for mark in _marks(place.label)}
    if "no" in kinds or _FILE.search(place.path):
        return -5.0
    named = "go" in kinds and not _URL.match(place.label)
    said = _GO_LABEL if named else 0.3 if kinds else 0.0
    hidden = 0.0 if place.visible else 1.0
    score = said + _address(place.target or place.url, place.url) - 0.3 * place.position - hidden - _BIAS
    if score + _GO_BEFORE + max(0.0, about) < _HOPELESS:
        return -5.0
    before = _before(place.before)
    if before < 0 and not named:
        return -5.0
    return score + max(0.0, before) * (0.4 if named else 1.0) + about


def _before(before: str) -> float:
    """What the words before a link say of it: its last telling phrase, weaker over sentences and lines."""
    low = normalise(before).lower()
    for mark in reversed(LINK_LABELS.find(low, 0, len(low))):
        if mark.kind == "maybe":
            continue
        gap = low[mark.end :].strip()
        sentences = len(_SENTENCE.findall(gap + " "))
        lines = gap.count("\n")
        if mark.kind == "no":
            return -1.0 if lines == 0 and sentences <= 1 else 0.0
        if mark.kind == "done":
            return -0.5 if lines == 0 else 0.0
        return _GO_BEFORE * (0.8**sentences) * (0.75**lines) if sentences + lines <= 3 else 0.0
    return 0.0


def _address(aim: str, url: str) -> float:
    """What the address itself tells: words of its path and query, and whether it carries a token."""
    rest = aim.split("://", 1)[-1]
    path = rest[rest.find("/") :] if "/" in rest else ""
    low = path.lower()
    if _NO_PATH_HARD.search(low):
        return -4.0
    if len(low) < 2:
        return -3.0
    if _DOOR.search(low) and not _NAMED_TOKEN.search(path):
        return -3.0
    score = 1.0 if _GO_PATH.search(low) else 0.0
    if _NO_PATH.search(low):
        score -= 0.5 if score else 2.5
    return score + (1.0 if _has_token(path) or (aim is not url and _has_token(url)) else -1.5)


def _has_token(path: str) -> bool:
    """Whether a piece of it looks drawn by lot: only such a link can prove anything."""
    path = path[:2_000]
    if _DRAWN.search(path) or _NAMED_TOKEN.search(path):
        return True
    long = _LONG_PIECE.findall(path)[:_PIECES_CAP]
    return any(piece not in (piece.lower(), piece.upper()) and _entropy(piece) > 3.6 for piece in long)


def _entropy(piece: str) -> float:
    """Bits a character."""
    size = len(piece)
    return -sum(n / size * math.log2(n / size) for n in (piece.count(c) for c in set(piece)))


def _about(subject: str) -> float:
    kinds = {mark.kind for mark in _marks(subject)}
    return -2.0 if "done" in kinds else 0.8 if "go" in kinds else 0.0


def _marks(text: str) -> list[Mark]:
    low = normalise(text[:400]).lower()
    return LINK_LABELS.find(low, 0, len(low))


def _found(score: float, place: _Place, sender: str) -> FoundLink:
    words = " ".join(f"{place.before} {place.label}".split())[-EVIDENCE_CAP:]
    return FoundLink(
        url=place.url,
        confidence=round(1 / (1 + math.exp(-1.3 * max(-20.0, min(20.0, score)))), 3),
        evidence=words,
        visible=place.visible,
        text=place.label,
        host_matches_sender=_is_of(place.host, sender),
        target=place.target,
    )


def _is_of(host: str, sender: str) -> bool:
    """Whether both are under one registrable domain (by rule of thumb: no public suffix list is read)."""
    domain = sender.rpartition("@")[2].strip(" >\t\r\n").lower()
    return bool(domain) and _registrable(host.lower()) == _registrable(domain)


def _registrable(host: str) -> str:
    labels = host.rstrip(".").split(".")
    deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if deep else labels[-2:])
