"""Bearer tokens: 256 random bits, recognisable, and mistyped ones told from revoked ones without the database."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.identity import tokens

BASE62 = set(string.digits + string.ascii_letters)


def test_tokens_look_as_documented() -> None:
    session, key = tokens.new_session_token().reveal(), tokens.new_api_key().reveal()
    assert (session[:4], len(session)) == ("lbs_", 47)
    assert (key[:3], len(key)) == ("lb_", 52)
    assert set(session[4:] + key[3:]) <= BASE62
    assert tokens.is_session(session)
    assert not tokens.is_session(key)
    assert tokens.plausible(session)
    assert tokens.plausible(key)


def test_they_are_drawn_from_all_256_bits() -> None:
    drawn = [tokens.new_session_token().reveal()[4:] for _ in range(3_000)]
    assert len(set(drawn)) == 3_000
    assert {char for each in drawn for char in each[1:]} == BASE62
    assert 62**43 > 2**256


def test_no_token_shows_itself() -> None:
    assert "lb" not in f"{tokens.new_api_key()}{tokens.new_session_token()!r}"


@pytest.mark.parametrize("place", range(52))
def test_a_typo_anywhere_in_a_key_is_seen(place: int) -> None:
    key = tokens.new_api_key().reveal()
    other = "x" if key[place] != "x" else "y"
    assert not tokens.plausible(key[:place] + other + key[place + 1 :])


@pytest.mark.parametrize("place", range(3, 51))
def test_so_are_two_swapped_characters(place: int) -> None:
    key = tokens.new_api_key().reveal()
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert tokens.plausible(swapped) is (swapped == key)


@given(st.text(max_size=60) | st.from_regex(r"lbs?_[0-9A-Za-z]{40,50}", fullmatch=True))
def test_any_text_is_judged(text: str) -> None:
    judged = tokens.plausible(text)
    assert judged is False or len(text) in (47, 52)


@pytest.mark.parametrize(
    "text", ["", "lb_", "lbs_", "lbs_" + "a" * 42, "lbs_" + "a" * 44, "lbs_" + "é" * 43, "lb_" + "a" * 43]
)
def test_what_cannot_be_a_token_is_none(text: str) -> None:
    assert not tokens.plausible(text)
