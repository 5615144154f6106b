"""The collector of defects."""

import pytest

from leasebox.mail.mime_bounds import Defects


def test_words_are_kept_once_in_order() -> None:
    defects = Defects()
    for word in ("b", "a", "b"):
        defects.add(word)
    assert defects.words() == ("b", "a")


@pytest.mark.parametrize(
    ("word", "fatal"), [("too_deep", True), ("too_many_parts", True), ("base64_bad", False), ("text_cut", False)]
)
def test_only_bounds_that_hide_parts_are_fatal(word: str, fatal: bool) -> None:
    defects = Defects()
    defects.add(word)
    assert defects.fatal() is fatal
