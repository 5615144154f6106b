"""Words as they are indexed and sought, in scripts with and without spaces."""

import time
from collections.abc import Callable

import pytest

from leasebox.mail.search_words import INDEXED_CHARS, indexed, sought


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Your CODE", "your code"),
        ("КОД подтверждения", "код подтверждения"),
        ("ＦＵＬＬ ｗｉｄｔｈ １２３", "full width 123"),
        ("ﬁne", "fine"),
        ("验证码", "验 证 码"),
        ("您的验证码是123456。", "您 的 验 证 码 是 123456。"),
        ("確認コード", "確 認 コ ー ド"),
        ("인증번호는 1234", "인 증 번 호 는 1234"),
        ("ﾊﾟｽﾜｰﾄﾞ", "パ ス ワ ー ド"),
    ],
)
def test_unspaced_scripts_are_indexed_character_by_character(text: str, words: str) -> None:
    assert indexed(text).split() == words.split()


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Your code", "your code"),
        ('"your code" or -spam', '"your code" or -spam'),
        ("验证码", '"验 证 码"'),
        ("-验证码", '-"验 证 码"'),
        ("shop 验证码 or 確認", 'shop "验 证 码" or "確 認"'),
        ('"验证码"', '" 验  证  码 "'),
        ('"open 验证', '"open  验  证 '),
        ("码", '"码"'),
    ],
)
def test_a_sought_word_of_such_a_script_is_a_phrase(text: str, query: str) -> None:
    assert sought(text) == query


def test_a_whole_mail_is_folded_quickly_and_only_as_far_as_it_is_indexed() -> None:
    started = time.process_time()
    assert len(indexed("码" * 1_000_000)) == 3 * INDEXED_CHARS
    assert len(indexed("ﷺ" * 1_000_000)) <= 18 * INDEXED_CHARS
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("fold", [indexed, sought])
@pytest.mark.parametrize("marks", ["\u0300\u0323", "\uff9e\u0323", "\u0f73"])
def test_a_run_of_combining_marks_costs_no_more(fold: Callable[[str], str], marks: str) -> None:
    started = time.process_time()
    assert len(fold("code" + marks * 1_000_000)) < 100
    assert time.process_time() - started < 1.0
