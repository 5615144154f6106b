"""Normal forms are Python's own, but for runs of marks that nobody writes; and those cost no more than other text."""

import sys
import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.values.normal_form import DISGUISED, MARK_PLANES, RUN_CAP, nfc, nfkc, stream_safe

CPU_CAP_S = 1.0
ASCII = 128
# Each alternates classes, so that every mark must be carried past all before it. A million take Python minutes.
HOSTILE = {
    "two classes": "\u0300\u0323",
    "more classes": "\u0345\u0301\u0323\u0f71",
    "marks of two": "\u0f73",
    "a composed mark": "\u0344\u0323",
    "halfwidth marks": "\uff9e\u0301\u0323",
    "marks of another plane": "\U0001d165\U0001d17b",
    "Hebrew": "\u05bc\u05b0",
}


@pytest.mark.parametrize("form", [nfc, nfkc])
@pytest.mark.parametrize("marks", HOSTILE.values(), ids=HOSTILE)
def test_no_run_of_marks_costs_much(form: Callable[[str], str], marks: str) -> None:
    started = time.process_time()
    found = form("a" + marks * 500_000)
    assert time.process_time() - started < CPU_CAP_S
    assert len(found) <= 4 * RUN_CAP


def test_the_marks_are_all_that_unicode_has() -> None:
    every = {chr(code) for code in range(ASCII, sys.maxunicode + 1)}
    begins = {each for each in every if unicodedata.combining(unicodedata.normalize("NFKD", each)[0])}
    cut = {each for each in every if len(stream_safe(each * (RUN_CAP + 1))) == RUN_CAP}
    assert cut == begins
    named = {each for each in begins if unicodedata.combining(each)}
    assert begins - named == set(DISGUISED)
    assert {each for each in named if not MARK_PLANES[0] <= ord(each) < MARK_PLANES[1]} == set()


@pytest.mark.parametrize("before", range(RUN_CAP + 3))
def test_a_run_is_cut_wherever_it_stands(before: int) -> None:
    run = "\u0301" * RUN_CAP
    assert stream_safe("x" * before + run + "y") == "x" * before + run + "y"
    assert stream_safe("x" * before + run + "\u0301\u0301y" + run) == "x" * before + run + "y" + run


@given(st.text(max_size=RUN_CAP))
def test_other_text_is_as_python_normalises_it(text: str) -> None:
    assert stream_safe(text) == text
    assert nfc(text) == unicodedata.normalize("NFC", text)
    assert nfkc(text) == unicodedata.normalize("NFKC", text)
