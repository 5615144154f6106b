"""Our Markdown as HTML, with everything escaped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from leasebox.pages.markdown import anchor_of, headings, inline, render


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("hello\nthere", "<p>hello there</p>"),
        ("a\n\nb", "<p>a</p>\n<p>b</p>"),
        ("## Sign *in*: now", '<h2 id="sign-in-now">Sign *in*: now</h2>'),
        ("```sh\na < b\n\n# c\n```", '<pre data-language="sh" tabindex="0"><code>a &lt; b\n\n# c</code></pre>'),
        ("```\nopen", '<pre tabindex="0"><code>open</code></pre>'),
        ("- a\n- b\n  more", "<ul><li>a</li><li>b more</li></ul>"),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("> **mind** it\n> well", "<blockquote><p><strong>mind</strong> it well</p></blockquote>"),
        (
            "| A | B |\n|---|---|\n| a \\| b | `c` |",
            (
                '<div class="wide"><table><thead><tr><th>A</th><th>B</th></tr></thead>'
                "<tbody><tr><td>a | b</td><td><code>c</code></td></tr></tbody></table></div>"
            ),
        ),
        ("a | b\nc", "<p>a | b c</p>"),
        ("", ""),
    ],
)
def test_blocks(text: str, html: str) -> None:
    assert render(text) == html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a `b<c` d", "a <code>b&lt;c</code> d"),
        ("**a `b`**", "<strong>a <code>b</code></strong>"),
        ("[x](https://a.example/?a=1&b=2)", '<a href="https://a.example/?a=1&amp;b=2">x</a>'),
        ("[x](/docs) [y](#z)", '<a href="/docs">x</a> <a href="#z">y</a>'),
        ("[x](javascript:alert)", "[x](javascript:alert)"),
        ("[x](data:text/html,1)", "[x](data:text/html,1)"),
        ("<script>&\"'", "&lt;script&gt;&amp;&quot;&#x27;"),
        ("`**a**` *b*", "<code>**a**</code> *b*"),
    ],
)
def test_marks_within_a_line(text: str, html: str) -> None:
    assert inline(text) == html


def test_headings_are_listed_without_those_in_code() -> None:
    found = headings("# A `b`\n\n```\n# not\n```\n## C d")
    assert [(each.level, each.text, each.anchor) for each in found] == [(1, "A b", "a-b"), (2, "C d", "c-d")]


def test_anchors() -> None:
    assert anchor_of("1. Sign in, then lease!") == "1-sign-in-then-lease"


@given(st.text(alphabet="<>&\"'`*[]()|#-> \nab1./:", max_size=200))
def test_no_text_becomes_markup_of_its_own(text: str) -> None:
    tree = LexborHTMLParser(f"<div>{render('x ' + text)}</div>")
    allowed = {"div", "p", "pre", "code", "h1", "h2", "h3", "h4", "strong", "a", "ul", "ol", "li", "blockquote"}
    allowed |= {"table", "thead", "tbody", "tr", "th", "td"}
    found = tree.body.css("*") if tree.body else []
    assert {node.tag for node in found} <= allowed | {"body"}
    assert {name for node in found for name in node.attributes} <= {"href", "id", "class", "data-language", "tabindex"}
