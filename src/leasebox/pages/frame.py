"""The frame of every HTML page: head, navigation, style, and the headers that keep it harmless."""

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from leasebox.pages.template import fill, load

STYLE = load("style.css")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# Nothing but our own style sheet and the icon in the page runs or loads; there is no script at all.
_RULES = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
POLICY = f"{_RULES}; form-action 'none'"
FORM_POLICY = f"{_RULES}; form-action 'self'"
_PLACES = (("/agents-guide", "Guide"), ("/docs", "API"), ("/llms.txt", "llms.txt"))


def frame(title: str, contents: str, main: str, here: str, head: str = "") -> str:
    """A whole page. contents, main and head (further elements of it): HTML; title: text; here: the page's path."""
    tabs = "".join(
        f'<a href="{path}"{" aria-current=page" if path == here else ""}>{escape(name)}</a>' for path, name in _PLACES
    )
    words = {
        "title": escape(title),
        "head": head,
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
