"""Pages that run and load nothing."""

import base64
import hashlib
import re

from leasebox.pages.frame import FORM_POLICY, POLICY, contents, frame


def test_the_policy_lets_in_our_own_style_alone() -> None:
    page = frame("T", "", "", "/")
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert len(styles) == 1
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert POLICY.startswith("default-src 'none';")
    assert "script-src" not in POLICY
    assert "unsafe" not in POLICY


def test_there_is_nothing_that_the_policy_would_stop() -> None:
    page = frame("T", contents([("#a", "A")]), "<p>x</p>", "/docs")
    assert "<script" not in page
    assert not re.findall(r"\s(?:on\w+|style)=", page)
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_the_title_is_escaped_and_the_place_is_marked() -> None:
    page = frame("<b>", "", "", "/docs")
    assert "<title>&lt;b&gt;</title>" in page
    assert '<a href="/docs" aria-current=page>API</a>' in page
    assert page.count("aria-current=page") == 1


def test_contents_escape_addresses() -> None:
    assert contents([('"x', "<b>y</b>")]) == '<ul><li><a href="&quot;x"><b>y</b></a></li></ul>'


def test_a_page_with_a_form_may_send_it_to_us_and_nothing_else() -> None:
    assert "form-action 'none'" in POLICY
    assert POLICY.replace("form-action 'none'", "form-action 'self'") == FORM_POLICY


def test_further_elements_stand_in_the_head() -> None:
    page = frame("T", "", "", "/", '<meta name="x" content="y">')
    assert '<meta name="x" content="y">' in page.partition("</head>")[0]
    assert "{{" not in page
