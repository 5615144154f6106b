"""Words in texts."""

import pytest

from leasebox.pages.template import chapters, fill, load


def test_words_are_put_in_once() -> None:
    assert fill("a {{one}} $two {three} {{ four }}", {"one": "{{one}}"}) == "a {{one}} $two {three} {{ four }}"


def test_words_can_be_shown_another_way() -> None:
    assert fill("{{one}}", {"one": "x"}, str.upper) == "X"


def test_a_word_that_is_missing_is_told() -> None:
    with pytest.raises(KeyError):
        fill("{{nobody}}", {})


def test_templates_are_found() -> None:
    assert load("frame.html").startswith("<!doctype html>")
    assert [chapter.split("\n")[0] for chapter in chapters("guide")][:2] == [
        "# Guide for agents",
        "## 1. Sign in with a wallet",
    ]
