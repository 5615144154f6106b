"""What a person would see of a page, what they would not, and that no page can hurt."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail.html import ANCHORS_CAP, MARKUP_CAP, read_html

CPU_CAP_S = 2.0

SEEN = {
    "adjacent spans are one word": ("<b>48</b><span>19</span><i>20</i>", "481920"),
    "blocks are lines": ("<p>a</p><div>b</div>c<br>d<h1>e</h1>", "a\nb\nc\nd\ne"),
    "cells are parted by a space": ("<table><tr><td>4</td><td>1</td></tr><tr><td>x</table>", "4 1\nx"),
    "white space collapses": ("<p>  a \n\t b&nbsp;&nbsp;c </p>", "a b c"),
    "pre keeps its lines": ("<pre>a\n  b</pre>", "a\nb"),
    "references are decoded": ("&lt;a&gt; &#52;&#x38; &amp;amp;", "<a> 48 &amp;"),
    "alternative texts count": ('<p>x<img alt="4 &amp; 5" src=y>z', "x 4 & 5 z"),
    "input values count": ('<input value="481920"><input type=hidden value=no>', "481920"),
    "scripts and styles do not": ("<style>p{}</style><script>'<p>no'</script><title>no</title>a", "a"),
    "comments do not": ("a<!-- <p>no</p> -->b<!--[if mso]>no<![endif]-->c<![if !mso]>d<![endif]>", "abcd"),
    "an empty comment ends at once": ("a<!-->b", "ab"),
    "less-than is text": ("1 < 2 and <3", "1 < 2 and <3"),
    "a quoted bracket ends no tag": ('<a title="a > b" href=x>c</a>', "c"),
    "a stray quote opens nothing": ('<td width="100"">a</td><td>b"</td>', 'a b"'),
    "paragraphs end themselves": ('<p style="display:none">no<p>yes', "yes"),
    "an inline end tag stays in its block": ('<span style="display:none"><div></span>no</div></span>yes', "yes"),
    "font size zero is undone by a child": ('<td style="font-size:0"><p style="font-size:13px">a</p>b</td>', "a"),
    "visibility is undone by a child": ('<p style="visibility:hidden">a<b style="visibility:visible">b</b></p>', "b"),
}
HIDDEN = {
    "display": '<div style="display: none !important">no</div>',
    "display in capitals": '<DIV STYLE="DISPLAY:NONE">no</DIV>',
    "visibility": '<p style="visibility:hidden">no</p>',
    "attribute": "<p hidden>no</p>",
    "font size": '<p style="font-size:0px">no</p>',
    "one pixel": '<p style="font-size:1px;color:#333">no</p>',
    "opacity": '<p style="opacity:0">no</p>',
    "max-height": '<p style="max-height:0px;overflow:hidden">no</p>',
    "height": '<p style="height:0;overflow:hidden">no</p>',
    "off screen": '<p style="position:absolute;left:-9999px">no</p>',
    "indent": '<p style="text-indent:-9999em">no</p>',
    "clip": '<p style="clip:rect(0, 0, 0, 0)">no</p>',
    "white on white": '<div style="background-color:#FFFFFF"><font color=white>no</font></div>',
    "rgb on short hex": '<table><tr><td bgcolor="#eee"><p style="color:rgb(238, 238, 238)">no</p></table>',
    "transparent": '<p style="color:transparent">no</p>',
    "class of the sheet": "<style>.pre, p{} .pre{display:none!important}</style><p class='x pre'>no</p>",
    "picture": '<img style="display:none" alt="no">',
    "deep inside": '<div style="display:none"><table><tr><td><p>no</p></td></tr></table></div>',
}
SHOWN = {
    "white on a dark ground": '<div style="background:#000"><p style="color:#fff">yes</p></div>',
    "ground is a picture": '<div style="background:#fff url(x.png)"><p style="color:#fff">yes</p></div>',
    "opacity above zero": '<p style="opacity:0.9">yes</p>',
    "class hidden on phones only": "<style>@media (max-width:9px){.m{display:none}}</style><p class=m>yes</p>",
    "max-height of some": '<p style="max-height:10px">yes</p>',
    "half an em": '<p style="font-size:.5em">yes</p>',
}
QUOTED = {
    "blockquote": "new<blockquote>old</blockquote>",
    "gmail": 'new<div class="gmail_quote">old</div>',
    "thunderbird": 'new<div class="moz-cite-prefix">old</div>',
    "outlook": 'new<div id="appendonsend"></div><hr><div id="divRplyFwdMsg">old</div>',
}
HOSTILE = {
    "nested blocks": "<div>" * 200_000,
    "a tag of many attributes": "<p " + " ".join(f"a{n}" for n in range(150_000)) + ">x",
    "attributes that hold brackets": "<p " + " ".join(f'a{n}=">"' for n in range(90_000)) + ">x",
    "open brackets": "<" * MARKUP_CAP,
    "open tags": "<a " * 330_000,
    "open quotes": "<a b=\"'" * 140_000,
    "open comments": "<!--" * 250_000,
    "open scripts": "<script>" * 120_000,
    "unclosed formatting": "".join(f"<b a={n}>" for n in range(50_000)) + "<p>x" * 50_000,
    "end tags that end nothing": "<b>" * 128 + "</i>" * 230_000,
    "nested tables": "<table><td><b>" * 60_000,
    "nested lists": "<ul><li>" * 120_000,
    "anchors": "<a href=x>y" * 90_000,
    "pictures in one anchor": "<a href=x>" + "<img alt=x>" * 80_000,
    "styles that differ": "".join(f'<p style="color:#{n:06x};x{n}:0">x' for n in range(30_000)),
    "style sheets": "<style>none" + "@media {" * 100_000,
    "rules": "<style>" + ".a{display:none}" * 60_000,
    "a number of a million digits": "&#" + "9" * 900_000 + ";",
    "references": "&amp;" * 200_000,
    "text of 25 MB": "a 1 " * 6_250_000,
}


@pytest.mark.parametrize(("markup", "text"), SEEN.values(), ids=SEEN)
def test_the_text_is_what_one_sees(markup: str, text: str) -> None:
    assert read_html(markup).text == text


@pytest.mark.parametrize("markup", HIDDEN.values(), ids=HIDDEN)
def test_what_is_hidden_stands_apart(markup: str) -> None:
    page = read_html(f"yes{markup}also")
    assert ("no" in page.text, page.hidden) == (False, "no")
    assert page.text.split() in (["yes", "also"], ["yesalso"])


@pytest.mark.parametrize("markup", SHOWN.values(), ids=SHOWN)
def test_what_only_looks_hidden_is_seen(markup: str) -> None:
    assert (read_html(markup).text, read_html(markup).hidden) == ("yes", "")


@pytest.mark.parametrize("markup", QUOTED.values(), ids=QUOTED)
def test_what_is_quoted_stands_apart(markup: str) -> None:
    page = read_html(markup)
    assert (page.text, page.quoted) == ("new", "old")


def test_anchors_say_where_they_stand() -> None:
    page = read_html(
        '<p>0123456789</p><a href="http://x.example/?a=1&amp;b=2" title="T"><img alt="Go">on</a><p>end</p>'
        '<p hidden><a href="http://hidden.example">h</a></p><blockquote><a href="http://q.example">q</a></blockquote>'
        "<a name=here>no link</a>"
    )
    first, hidden, quoted = page.anchors
    assert (first.href, first.text, first.title, first.alt) == ("http://x.example/?a=1&b=2", "Go on", "T", "Go")
    assert (first.visible, first.quoted, first.offset) == (True, False, 11)
    assert first.position == pytest.approx(11 / len(page.text))
    assert page.text[first.offset :].startswith("Go on")
    assert (hidden.visible, hidden.text) == (False, "h")
    assert (quoted.quoted, quoted.visible) == (True, True)


def test_an_anchor_ends_where_the_next_begins() -> None:
    assert [a.text for a in read_html("<a href=x>one<a href=y>two").anchors] == ["one", "two"]


def test_anchors_are_capped() -> None:
    assert len(read_html("<a href=x>y</a>" * (ANCHORS_CAP + 5)).anchors) == ANCHORS_CAP


def test_markup_beyond_the_cap_is_cut() -> None:
    page = read_html("<p>first</p>" + " " * MARKUP_CAP + "<p>last</p>")
    assert page.text == "first"


@pytest.mark.parametrize("markup", HOSTILE.values(), ids=HOSTILE)
def test_no_page_costs_much(markup: str) -> None:
    start = time.process_time()
    read_html(markup)
    assert time.process_time() - start < CPU_CAP_S


@given(st.text(alphabet="<>/=\"'! -&#;abpdivtsl\n\u00e9\ud800", max_size=200))
def test_any_page_is_read(markup: str) -> None:
    page = read_html(markup)
    assert len(page.text) <= len(markup) + 2 * markup.count("<")
    assert all(0.0 <= anchor.position <= 1.0 for anchor in page.anchors)
