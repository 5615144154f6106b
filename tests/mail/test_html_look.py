"""What inline styles hide."""

import pytest

from leasebox.mail.html_look import PLAIN, Look, hidden_classes, restyle

NONE: frozenset[str] = frozenset()


def look(style: str, parent: Look = PLAIN) -> Look:
    return restyle(parent, "p", {"style": style}, NONE)


@pytest.mark.parametrize(
    ("style", "unseen"),
    [
        ("display:none", True),
        ("display:block", False),
        ("opacity:.0", True),
        ("opacity:1", False),
        ("font-size:0", True),
        ("font-size:0.4px", True),
        ("font-size:0.4em", False),
        ("font-size:12px", False),
        ("font-size:large", False),
        ("max-height:0", True),
        ("max-height:none", False),
        ("width:0;overflow:hidden", True),
        ("width:0", False),
        ("margin-left:-5000px", True),
        ("margin-left:-5px", False),
        ("color:#fff;background:#ffffff", True),
        ("color:#fff;background:linear-gradient(#fff,#000)", False),
        ("color:rgba(0,0,0,0)", True),
        ("color:red;background:red", False),  # colour words beyond black and white are not read
        (":;:;none", False),
    ],
)
def test_a_style_hides_or_does_not(style: str, unseen: bool) -> None:
    assert look(style).unseen is unseen


def test_no_child_undoes_display_none() -> None:
    assert look("display:block;visibility:visible;font-size:20px", look("display:none")).unseen


def test_ink_and_paper_are_inherited() -> None:
    white_paper = restyle(PLAIN, "td", {"bgcolor": "#FFF"}, NONE)
    assert look("color:white", white_paper).unseen
    assert not look("color:white;background:#123", white_paper).unseen


def test_a_reply_header_quotes_all_that_follows() -> None:
    assert restyle(PLAIN, "div", {"id": "divRplyFwdMsg"}, NONE).ends
    assert restyle(PLAIN, "div", {"class": "gmail_quote"}, NONE).quoted


def test_only_plain_rules_hide_a_class() -> None:
    sheet = "@media print{.a{display:none}} .b{display:none} .c{opacity:0;color:red} .d{color:red} @import 'none';"
    assert hidden_classes(sheet) == {"b", "c"}
