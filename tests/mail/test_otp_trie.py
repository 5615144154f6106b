"""The notation of word tables, and which phrase counts."""

import pytest

from leasebox.mail.otp_trie import Words

WORDS = Words({"no": "promo code, zip code", "yes": "*code., security code, pin., verif\n验证码, código", "do": "use."})


@pytest.mark.parametrize(
    ("low", "found"),
    [
        ("the code is", ["yes:code"]),
        ("zugangscode:", ["yes:code"]),
        ("codec decode encoded", ["yes:code"]),
        ("promo code", ["no:promo code"]),
        ("promo  \n code", ["no:promo  \n code"]),
        ("your security code", ["yes:security code"]),
        ("pin pins shopping", ["yes:pin"]),
        ("verified unverified", ["yes:verif"]),
        ("您的验证码是", ["yes:验证码"]),
        ("el código.", ["yes:código"]),
        ("use used", ["do:use"]),
        ("", []),
    ],
)
def test_phrases_are_found_where_words_begin(low: str, found: list[str]) -> None:
    assert [f"{m.kind}:{low[m.start : m.end]}" for m in WORDS.find(low, 0, len(low))] == found


def test_only_the_window_is_read() -> None:
    assert WORDS.find("code code code", 5, 9) == [(5, 9, "yes")]


def test_the_first_table_of_a_phrase_counts() -> None:
    assert Words({"a": "pin", "b": "pin"}).find("pin", 0, 3)[0].kind == "a"
