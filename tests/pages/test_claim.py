"""The approval page as text: what it says, and that nothing in it can be more than text."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from selectolax.lexbor import LexborHTMLParser

from leasebox.leases.claims_model import CLAIM_TTL, Claim, ClaimId
from leasebox.pages.claim import claim_page, form_token, new_nonce, said_page

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CLAIM = Claim(
    ClaimId.new(NOON),
    "my-agent",
    "inbox.example",
    "192.0.2.7",
    "pending",
    None,
    NOON,
    NOON + CLAIM_TTL,
    *(None,) * 6,
)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{address}}{0}"


def drawn(changes: dict[str, Any] | None = None, at: datetime = NOON) -> Any:
    return LexborHTMLParser(claim_page(msgspec.structs.replace(CLAIM, **changes or {}), "f0" * 32, at))


def test_it_says_what_is_asked_by_whom_and_until_when() -> None:
    page = drawn()
    text = page.css_first("main").text(separator=" ")
    for part in ("my-agent@inbox.example", "192.0.2.7", "2026-11-20 12:00 UTC", "2026-11-20 12:30 UTC", "24 hours"):
        assert part in text
    assert "10 recipients" in text


def test_its_form_has_two_buttons_and_the_token() -> None:
    form = drawn().css_first("form")
    assert form.attributes == {"method": "post", "class": "actions"}
    assert form.css_first("input").attributes["value"] == "f0" * 32
    pressed = [(each.attributes["name"], each.attributes["value"]) for each in form.css("button")]
    assert pressed == [("decision", "approve"), ("decision", "decline")]


def test_browsers_are_told_to_send_the_origin_with_the_form() -> None:
    assert drawn().css_first("head meta[name=referrer]").attributes["content"] == "same-origin"


@pytest.mark.parametrize(
    ("at", "changes", "says"),
    [
        (NOON + CLAIM_TTL, {}, "Too late"),
        (NOON, {"state": "declined", "reason": "by_person"}, "Declined"),
        (NOON, {"state": "declined", "reason": "address_taken"}, "taken by somebody else"),
        (NOON, {"state": "approved"}, "Approved"),
        (NOON + timedelta(hours=5), {"state": "approved"}, "Approved"),
    ],
)
def test_what_is_decided_has_no_form_any_more(at: datetime, changes: dict[str, Any], says: str) -> None:
    page = drawn(changes, at)
    assert says in page.css_first("main").text()
    assert "my-agent@inbox.example" in page.css_first("main").text()
    assert page.css_first("form") is None


@pytest.mark.parametrize("field", ["name", "domain", "asked_from"])
@pytest.mark.parametrize("state", ["pending", "approved", "declined"])
def test_hostile_words_stay_words(field: str, state: str) -> None:
    page = drawn({field: HOSTILE, "state": state})
    assert page.css("script, img") == []
    assert [each for each in page.css("main *") if any(name.startswith("on") for name in each.attributes)] == []
    if field != "asked_from" or state == "pending":
        assert HOSTILE in page.css_first("main").text()


def test_what_is_said_is_text() -> None:
    page: Any = LexborHTMLParser(said_page("<b>Title", HOSTILE))
    assert page.css("script, img, b") == []
    assert HOSTILE in page.css_first("main").text()


def test_a_form_token_is_of_one_browser_and_one_claim() -> None:
    nonce, other = new_nonce(), new_nonce()
    assert nonce != other
    assert form_token(nonce, "a") == form_token(nonce, "a")
    assert len({form_token(nonce, "a"), form_token(nonce, "b"), form_token(other, "a")}) == 3
    assert nonce not in form_token(nonce, "a")
