"""What can stand in one line of a header."""

import pytest

from leasebox.sending.one_line import as_one_line, is_one_line


@pytest.mark.parametrize(
    "text", ["", "plain", "Grüße", "全角　空白", "no\u00a0break", "👩‍👩‍👧 family", "שלום", "a" * 5_000]
)
def test_words_of_all_alphabets_are_one_line(text: str) -> None:
    assert is_one_line(text)
    assert as_one_line(text) == " ".join(text.split())


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, 0xD800, 0xDFFF])
def test_no_break_is(code: int) -> None:
    text = f"a{chr(code)}b"
    assert not is_one_line(text)
    assert as_one_line(text) == "a b"
