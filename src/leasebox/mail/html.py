"""HTML of strangers to the text that a person would see, the text that they would not, and the anchors.

One linear scan over the tags, without a tree: tree builders follow the HTML standard into quadratic time (lexbor took
14 s for one tag of 100,000 attributes and grows with the square of the depth), and hidden code would not be read by C.
What a tree would tell us (which elements are open, and so what is hidden or quoted) is a bounded stack.
Source: HTML Living Standard §13.2 (tokens, implied end tags, raw text), CSS 2.2 §11 (visibility) for inline styles.
"""

import re
from html import unescape
from typing import Final

import msgspec

from leasebox.mail.html_look import PLAIN, READ_ATTRIBUTES, Look, hidden_classes, restyle

MARKUP_CAP: Final = 1_000_000
"""Characters of markup that are read; the rest is cut."""
TOKENS_CAP: Final = 40_000
"""Tags and comments that are read; the rest is cut."""
DEPTH_CAP: Final = 128
"""Open elements that are followed; deeper ones take the look of the last one followed."""
ANCHORS_CAP: Final = 1_000
ATTRIBUTES_CAP: Final = 16_000
"""Characters of one tag's attributes that are read."""


class Anchor(msgspec.Struct, frozen=True):
    """A link as it stands in the page. position: 0 (top) to 1 (end) of the visible text; offset: that in characters.

    A quoted anchor stands in the quoted text, and its offset is where the quote interrupts the visible text.
    """

    href: str
    text: str
    title: str
    alt: str
    visible: bool
    quoted: bool
    position: float
    offset: int


class HtmlText(msgspec.Struct, frozen=True):
    """text: what is seen; hidden: what is not (preheaders, decoys); quoted: what is cited from earlier mails."""

    text: str
    hidden: str
    quoted: str
    anchors: tuple[Anchor, ...]


def read_html(markup: str) -> HtmlText:
    """Read a page. Pure, total and linear in the first MARKUP_CAP characters."""
    page = _Page()
    _scan(markup[:MARKUP_CAP], page)
    return page.finish()


# Attribute values may hold ">" when quoted, and only after "="; possessive throughout, so no character is read twice.
_TOKEN: Final = re.compile(
    r"""<(?:(/?)([a-zA-Z][^\s/>]*+)((?:[^>=]++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))?+)*+)(?:>|\Z)"""
    r"""|(!--)|[!?/][^>]*+(?:>|\Z))"""
)
_ATTRIBUTE: Final = re.compile(r"""([^\s=>/"']++)(?:\s*+=\s*+(?:"([^"]*+)"?|'([^']*+)'?|([^\s>"']++)))?+""")
_LOOKS: Final = re.compile(r"(?:style|class|color)\s*=|hidden|id\s*=\s*[\"']?(?:x_)?(?:div|app|outl|mail)", re.I)
_LONG_REFERENCE: Final = re.compile(r"&#(?:[0-9]{9,}+|[xX][0-9a-fA-F]{9,}+);?")
_RAW_END: Final = {
    tag: re.compile(rf"</{tag}(?=[\s/>])", re.I)
    for tag in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "template")
}

_VOID: Final = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_CELLS: Final = frozenset(("td", "th"))
_ROWS: Final = frozenset(("tr", "tbody", "thead", "tfoot", "caption"))
_BLOCKS: Final = _ROWS | frozenset(
    "address article aside blockquote body center dd details dir div dl dt fieldset figcaption figure footer form h1 h2"
    " h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol option p pre section summary table ul".split()
)
_WALLS: Final = _BLOCKS | _CELLS
_TABLE_WALLS: Final = frozenset(("table", "td", "th"))
_TABLE: Final = frozenset(("table",))
_LIST_WALLS: Final = frozenset(("ul", "ol", "dl", "menu", "table", "td", "th"))
_CLOSES: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "li": (frozenset(("li",)), _LIST_WALLS),
    "dt": (frozenset(("dt", "dd")), _LIST_WALLS),
    "dd": (frozenset(("dt", "dd")), _LIST_WALLS),
    "td": (_CELLS, _TABLE),
    "th": (_CELLS, _TABLE),
    "tr": (frozenset(("tr",)), _TABLE),
    "option": (frozenset(("option",)), _WALLS - {"option"}),
}
"""Start tag: the elements that it ends by itself, and the elements past which it does not look for them."""
_PARAGRAPH: Final = (frozenset(("p",)), _WALLS - {"p"})


def _ends(tag: str) -> tuple[frozenset[str], frozenset[str]]:
    """What an end tag ends, and past what it does not look (HTML §13.2.4.2, scopes)."""
    name = frozenset((tag,))
    if tag == "table":
        return name, frozenset()
    if tag in _CELLS or tag in _ROWS:
        return name, _TABLE
    return name, (_TABLE_WALLS if tag in _BLOCKS else _WALLS) - name


_ENDS: Final = {tag: _ends(tag) for tag in _WALLS}
_STYLED: Final = frozenset(("pre", "blockquote"))
"""Elements that have a look without any attribute."""


class _Flow:
    """Text being written: white space collapses, line ends and offsets are exact."""

    __slots__ = ("gap", "length", "parts", "start")

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.gap = False
        self.start = True

    def write(self, chunk: str) -> None:
        words = " ".join(chunk.split())
        if not words:
            self.gap = True
            return
        if not self.start and (self.gap or chunk[0].isspace()):
            words = " " + words
        self.parts.append(words)
        self.length += len(words)
        self.gap = chunk[-1].isspace()
        self.start = False

    def break_line(self) -> None:
        if not self.start:
            self.parts.append("\n")
            self.length += 1
            self.start = True
        self.gap = False

    def text(self) -> str:
        return "".join(self.parts).strip("\n")


class _Open(msgspec.Struct):
    """An anchor whose end tag has not come yet; `part` is where its text starts in the flow."""

    href: str
    title: str
    flow: _Flow
    part: int
    offset: int
    visible: bool
    quoted: bool
    alts: list[str]


class _Page:
    """What the scan has seen so far: the open elements, the three flows, the anchors."""

    def __init__(self) -> None:
        self.seen, self.hidden, self.quoted = _Flow(), _Flow(), _Flow()
        self.tags: list[str] = []
        self.looks: list[Look] = []
        self.look: Look = PLAIN
        self.quoting = False
        self.flow = self.seen
        self.overflow = 0
        self.known: dict[tuple[str, str, int], Look] = {}
        self.css: frozenset[str] = frozenset()
        self.spelt = ""
        self.pairs: dict[str, str] = {}
        self.anchor: _Open | None = None
        self.anchors: list[_Open] = []
        self.texts: list[str] = []

    def write(self, chunk: str) -> None:
        if "&" in chunk:
            chunk = _decode(chunk)
        if self.look.pre and "\n" in chunk:
            for line in chunk.split("\n"):
                self.flow.write(line)
                self.flow.break_line()
            return
        self.flow.write(chunk)

    def start(self, tag: str, attributes: str) -> None:
        """A start tag: end what it implies, space it, push it, and take note of what it carries."""
        if tag in _CLOSES:
            self._pop(*_CLOSES[tag])
        if tag in _BLOCKS:
            if "p" in self.tags:
                self._pop(*_PARAGRAPH)
            self.flow.break_line()
        elif tag in _CELLS:
            self.flow.gap = True
        if tag in _VOID:
            self._void(tag, attributes)
            return
        self._push(tag, self._look_of(tag, attributes) if attributes or tag in _STYLED else self.look)
        if tag == "a":
            self._open_anchor(attributes)

    def end(self, tag: str) -> None:
        """An end tag: end the element, and its line if it has one."""
        if tag == "a":
            self._close_anchor()
        elif tag == "br":
            self.flow.break_line()
        if self.overflow:
            self.overflow -= 1
        else:
            self._pop(*(_ENDS.get(tag) or (frozenset((tag,)), _WALLS)))
        if tag in _BLOCKS:
            self.flow.break_line()
        elif tag in _CELLS:
            self.flow.gap = True

    def finish(self) -> HtmlText:
        self._close_anchor()
        text = self.seen.text()
        scale = max(1, len(text))
        anchors = (
            Anchor(a.href, t, a.title, " ".join(a.alts), a.visible, a.quoted, min(1.0, a.offset / scale), a.offset)
            for a, t in zip(self.anchors, self.texts, strict=True)
        )
        return HtmlText(text, self.hidden.text(), self.quoted.text(), tuple(anchors))

    def _push(self, tag: str, look: Look) -> None:
        if len(self.tags) >= DEPTH_CAP:
            self.overflow += 1
            return
        self.tags.append(tag)
        self.looks.append(self.look)
        self._wear(look)

    def _pop(self, names: frozenset[str], walls: frozenset[str]) -> None:
        """End the innermost open element of these names, and all within it, unless a wall stands before it."""
        tags = self.tags
        for at in range(len(tags) - 1, -1, -1):
            if tags[at] in names:
                look = self.looks[at]
                del tags[at:], self.looks[at:]
                self._wear(look)
                return
            if tags[at] in walls:
                return

    def _wear(self, look: Look) -> None:
        if look is self.look:
            return
        self.look = look
        self.quoting = self.quoting or look.ends
        flow = self.hidden if look.unseen else self.quoted if look.quoted or self.quoting else self.seen
        if flow is not self.flow:
            if flow is not self.seen:
                flow.break_line()
            self.flow = flow

    def _look_of(self, tag: str, attributes: str) -> Look:
        """The look of an element. Mails repeat themselves: each spelling, and each style in it, is read once."""
        key = (tag, attributes, id(self.look))
        look = self.known.get(key)
        if look is None:
            look = self.look
            if tag in _STYLED or _LOOKS.search(attributes):
                pairs = self._pairs_of(attributes)
                style = repr([pairs.get(name) for name in READ_ATTRIBUTES])
                like = (tag if tag in _STYLED else "", style, id(look))
                look = self.known.get(like) or restyle(look, tag, pairs, self.css)
                self.known[like] = look
            self.known[key] = look
        return look

    def _pairs_of(self, attributes: str) -> dict[str, str]:
        if attributes != self.spelt:
            self.spelt, self.pairs = attributes, _pairs(attributes)
        return self.pairs

    def _void(self, tag: str, attributes: str) -> None:
        if tag == "br":
            self.flow.break_line()
        elif (tag == "img" and "alt" in attributes) or (tag == "input" and "value" in attributes):
            pairs = self._pairs_of(attributes)
            shown = pairs.get("alt" if tag == "img" else "value", "")
            if shown and pairs.get("type", "").lower() != "hidden":
                around = self.look
                self._wear(self._look_of(tag, attributes))
                self.flow.write(f" {shown} ")
                self._wear(around)
                if self.anchor is not None:
                    self.anchor.alts.append(shown[:200])

    def _open_anchor(self, attributes: str) -> None:
        self._close_anchor()
        pairs = self._pairs_of(attributes)
        href = pairs.get("href", "").strip()
        if not href or len(self.anchors) >= ANCHORS_CAP:
            return
        offset = self.seen.length
        title = pairs.get("title", "")[:200]
        flow, look = self.flow, self.look
        self.anchor = _Open(
            href, title, flow, len(flow.parts), offset, not look.unseen, look.quoted or self.quoting, []
        )

    def _close_anchor(self) -> None:
        anchor, self.anchor = self.anchor, None
        if anchor is not None:
            self.anchors.append(anchor)
            self.texts.append("".join(anchor.flow.parts[anchor.part : anchor.part + 200]).strip()[:500])


def _scan(markup: str, page: _Page) -> None:
    """Feed tags and texts to the page."""
    at, left = 0, TOKENS_CAP
    while left > 0:
        resumed = at
        for token in _TOKEN.finditer(markup, at):
            start = token.start()
            if start > at:
                page.write(markup[at:start])
            at = token.end()
            left -= 1
            slash, tag, attributes, comment = token.groups()
            if tag:
                tag = tag.lower()
                if slash:
                    page.end(tag)
                elif tag not in _RAW_END:
                    page.start(tag, attributes)
                else:
                    at = _skip_raw(markup, at, tag, page)
                    break
            elif comment:
                end = markup.find("-->", start + 2)
                at = len(markup) if end < 0 else end + 3
                break
            if left <= 0:
                return
        else:
            page.write(markup[at:])
            return
        if at == resumed:
            return


def _skip_raw(markup: str, at: int, tag: str, page: _Page) -> int:
    """Where the content of a raw text element ends; a style sheet tells which classes are hidden."""
    end = _RAW_END[tag].search(markup, at)
    stop = end.start() if end else len(markup)
    if tag == "style":
        page.css = page.css | hidden_classes(markup[at:stop])
    return stop


def _pairs(attributes: str) -> dict[str, str]:
    """Attributes by lower-case name; the first of a name counts (HTML §13.2.5.33)."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(attributes[:ATTRIBUTES_CAP]):
        value = double or single or bare
        found.setdefault(name.lower(), _decode(value) if "&" in value else value)
    return found


def _decode(text: str) -> str:
    """Character references decoded; numbers too long to be any character would make int() refuse, so they go first."""
    if "&#" in text:
        text = _LONG_REFERENCE.sub("\ufffd", text)
    return unescape(text)
