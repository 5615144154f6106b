"""How inline styles make text invisible, as far as a mail says so itself: no cascade, no layout.

Source: CSS 2.2 §11.2 (visibility), CSS Color 4 (colour words), and what mail templates do to preheaders.
"""

import re
from typing import Final

import msgspec


class Look(msgspec.Struct, frozen=True):
    """What an element passes on to its children.

    unseen: nobody sees its text. gone: so, and no child can undo it; tiny and veiled can be undone by a child's own
    font size and visibility. ends: everything after it, in or out of it, is quoted.
    """

    unseen: bool = False
    gone: bool = False
    tiny: bool = False
    veiled: bool = False
    quoted: bool = False
    ends: bool = False
    pre: bool = False
    ink: str = ""
    paper: str = ""


PLAIN: Final = Look()

READ_ATTRIBUTES: Final = ("style", "class", "id", "color", "bgcolor", "hidden")
"""All that restyle reads of an element besides its name."""

STYLE_CAP: Final = 4_000
SHEET_CAP: Final = 64_000

_DECLARATION: Final = re.compile(r"([a-z-]++)\s*+:\s*+([^;]++)")
_NUMBER: Final = re.compile(r"\s*+(-?[0-9]*+\.?[0-9]*+)\s*+(px|pt|em|rem|%|vw|vh)?")
_COLOUR: Final = re.compile(r"#[0-9a-f]{3,8}|rgba?\([^)]{0,60}\)|\b(?:white|black|transparent)\b")
_RULE: Final = re.compile(r"\.([\w-]{1,80})\s*+\{([^{}]*+)\}")
_MEDIA: Final = re.compile(r"@[a-z-]+[^{};]*+\{(?:[^{}]*+\{[^{}]*+\})*+[^{}]*+\}?")
_NAMED: Final = {"white": "#ffffff", "black": "#000000"}
_QUOTES: Final = re.compile(r"gmail_quote|gmail_extra|yahoo_quoted|moz-cite-prefix|protonmail_quote|zmail_extra", re.I)
_QUOTES_REST: Final = re.compile(r"divRplyFwdMsg|appendonsend|OutlookMessageHeader|mail-editor-reference", re.I)
_FAR_OFF: Final = ("text-indent", "left", "top", "margin-left", "margin-top", "right")


def restyle(parent: Look, tag: str, attributes: dict[str, str], hidden: frozenset[str]) -> Look:
    """The look of an element with these attributes (names in lower case) inside `parent`.

    hidden: classes that the mail's own style sheet does not display. Pure; reads STYLE_CAP characters of a style.
    """
    style = _declarations(attributes.get("style", ""))
    classes = attributes.get("class", "")
    marks = f"{classes} {attributes.get('id', '')}"
    ink = _colour(style.get("color") or attributes.get("color", "")) or parent.ink
    paper = _paper(style, attributes, parent.paper)
    gone = (
        parent.gone
        or "hidden" in attributes
        or bool(hidden and not hidden.isdisjoint(classes.split()))
        or (bool(style) and _is_gone(style))
    )
    tiny = _is_tiny(style["font-size"]) if "font-size" in style else parent.tiny
    veiled = style["visibility"][:4] in ("hidd", "coll") if "visibility" in style else parent.veiled
    return Look(
        unseen=gone or tiny or veiled or ink == "transparent" or (ink != "" and ink == paper),
        gone=gone,
        tiny=tiny,
        veiled=veiled,
        quoted=parent.quoted or tag == "blockquote" or bool(_QUOTES.search(marks)),
        ends=bool(_QUOTES_REST.search(marks)),
        pre=parent.pre or tag == "pre" or style.get("white-space", "").startswith("pre"),
        ink=ink,
        paper=paper,
    )


def hidden_classes(sheet: str) -> frozenset[str]:
    """Classes that a style sheet does not display, outside of media queries; reads SHEET_CAP characters."""
    sheet = sheet[:SHEET_CAP].lower()
    if "none" not in sheet and "hidden" not in sheet:
        return frozenset()
    rules = _RULE.findall(_MEDIA.sub("", sheet))
    return frozenset(name for name, body in rules if _is_gone(_declarations(body)))


def _declarations(style: str) -> dict[str, str]:
    if not style:
        return {}
    return {name: value.strip() for name, value in _DECLARATION.findall(style[:STYLE_CAP].lower())}


def _is_gone(style: dict[str, str]) -> bool:
    if style.get("display", "").startswith("none"):
        return True
    if "opacity" in style and _amount(style["opacity"], 1.0) < 0.05:
        return True
    if "max-height" in style and _amount(style["max-height"], 1.0) == 0:
        return True
    clipped = style.get("overflow", "").startswith("hidden")
    if clipped and any(_amount(style.get(side, ""), 9.0) <= 1 for side in ("height", "width", "max-width")):
        return True
    if style.get("clip", "").replace(" ", "").startswith("rect(0") or "inset(100%" in style.get("clip-path", ""):
        return True
    return any(_amount(style.get(side, ""), 0.0) <= -900 for side in _FAR_OFF)


def _is_tiny(size: str) -> bool:
    number = _NUMBER.match(size)
    if not number or number[1] in ("", "-", "."):
        return False
    amount = float(number[1])
    return amount == 0 or (number[2] in ("px", "pt") and amount <= 1)


def _amount(value: str, absent: float) -> float:
    number = _NUMBER.match(value)
    if not number or number[1] in ("", "-", ".", "-."):
        return absent
    return float(number[1][:12])


def _paper(style: dict[str, str], attributes: dict[str, str], inherited: str) -> str:
    """The background colour; a picture under the text is no colour that could equal the ink."""
    ground = style.get("background-color") or style.get("background") or ""
    if "url(" in ground or "gradient" in ground or "url(" in style.get("background-image", ""):
        return ""
    colour = _colour(ground or attributes.get("bgcolor", ""))
    return inherited if colour in ("", "transparent") else colour


def _colour(value: str) -> str:
    """One spelling for one colour, empty where it is not understood."""
    found = _COLOUR.search(value.lower()) if value else None
    if not found:
        return ""
    colour = found[0]
    if colour in _NAMED or colour == "transparent":
        return _NAMED.get(colour, colour)
    if colour[0] == "#":
        return "#" + "".join(c * 2 for c in colour[1:]) if len(colour) == 4 else colour[:7]
    numbers = [int(n) for n in re.findall(r"[0-9]{1,3}", colour)[:3]]
    if colour.startswith("rgba") and re.search(r",\s*0?\.?0*\s*\)$", colour):
        return "transparent"
    return "#" + "".join(f"{min(n, 255):02x}" for n in numbers) if len(numbers) == 3 else ""
