"""Which parts of a mail are its text, which its HTML, and which are attachments (after RFC 8621 §4.1.4)."""

from typing import Final

from leasebox.mail.mime_bounds import Defects
from leasebox.mail.mime_tree import Part
from leasebox.mail.parameters import read_parameters

_BODIES: Final = ("text/plain", "text/html")
_ALTERNATIVES_UNREAD: Final = ("text/x-amp-html", "text/watch-html")
"""Machine-made twins of the HTML part, which no reader would call an attachment."""


class Layout:
    """The leaves of a tree, sorted: `text` and `markup` are body parts in order, either may hold both kinds."""

    def __init__(self, root: Part, defects: Defects) -> None:
        self.text: list[Part] = []
        self.markup: list[Part] = []
        self.attachments: list[Part] = []
        self._defects = defects
        if root.is_multipart:
            self._place(root, self.text, self.markup, "")
        elif self._is_body(root, "mixed", 0):
            self.text.append(root)
            self.markup.append(root)
        else:
            self.attachments.append(root)

    @property
    def charset(self) -> str:
        """What the first body part that declares a charset declares, or ""."""
        return next((p.parameters["charset"] for p in (*self.text, *self.markup) if p.parameters.get("charset")), "")

    def _place(self, part: Part, text: list[Part] | None, markup: list[Part] | None, around: str) -> None:
        """Sort the children; a list is None where the other kind already speaks for this alternative.

        Recursion is bounded: a tree opens at most `mime_bounds.DEPTH` levels.
        """
        kind = part.content_type.partition("/")[2]
        inside = "alternative" if "alternative" in (kind, around) else kind
        texts, markups = len(text or ()), len(markup or ())
        for number, child in enumerate(part.children):
            plain = child.content_type == "text/plain"
            if child.is_multipart:
                self._place(child, text, markup, inside)
            elif not self._is_body(child, kind, number):
                if not (kind == "alternative" and child.content_type in _ALTERNATIVES_UNREAD):
                    self.attachments.append(child)
            elif kind == "alternative":
                _append(child, text if plain else markup)
            else:
                if inside == "alternative" and text is not None and markup is not None:
                    text, markup = (text, None) if plain else (None, markup)
                _append(child, text)
                _append(child, markup)
        if kind == "alternative" and text is not None and markup is not None:
            _share(text, texts, markup, markups)

    def _is_body(self, part: Part, kind: str, number: int) -> bool:
        if part.content_type not in _BODIES:
            return False
        disposition, filename = disposition_of(part, "", self._defects)
        if disposition == "attachment":
            return False
        return number == 0 or (kind != "related" and not filename)


def disposition_of(part: Part, hint: str, defects: Defects) -> tuple[str, str]:
    """The disposition's word ("" where none is given) and the file name that the part claims, not yet safe."""
    value = part.fields.first("content-disposition")
    if not value:
        return "", part.parameters.get("name", "")
    word, parameters = read_parameters(value, hint, defects)
    return word, parameters.get("filename") or part.parameters.get("name", "")


def _append(part: Part, body: list[Part] | None) -> None:
    if body is not None:
        body.append(part)


def _share(text: list[Part], texts: int, markup: list[Part], markups: int) -> None:
    """An alternative in one kind only speaks for both."""
    if len(text) == texts:
        text += markup[markups:]
    elif len(markup) == markups:
        markup += text[texts:]
