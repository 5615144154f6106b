"""The frame of every HTML page: head, navigation, style, and the headers that keep it harmless."""

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from leasebox.pages.template import fill, load

STYLE = load("style.css")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# Nothing but our own style sheet and the icon in the page runs or loads; there is no script at all.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PLACES = (("/agents-guide", "Guide"), ("/docs", "API"), ("/llms.txt", "llms.txt"))


def frame(title: str, contents: str, main: str, here: str) -> str:
    """A whole page. contents and main: HTML; title: text; here: the path of the page."""
    tabs = "".join(
        f'<a href="{path}"{" aria-current=page" if path == here else ""}>{escape(name)}</a>' for path, name in _PLACES
    )
    words = {
        "title": escape(title),
        "style": STYLE,
        "tabs": tabs,
        "contents": f'<nav class="contents" aria-label="Contents">{contents}</nav>' if contents else "",
        "main": main,
        "layout": "with-contents" if contents else "plain",
    }
    return fill(load("frame.html"), words)


def contents(entries: Iterable[tuple[str, str]]) -> str:
    """A list of links. entries: an address and its text (HTML)."""
    return "<ul>" + "".join(f'<li><a href="{escape(url)}">{text}</a></li>' for url, text in entries) + "</ul>"
