"""Unicode normal forms in linear time: Python sorts a run of combining marks by insertion, which is quadratic."""

import re
import unicodedata
from functools import cache
from typing import Final

RUN_CAP: Final = 30
"""Combining marks in a row that are kept; people write far fewer (UAX #15 §13, stream-safe text)."""
MARK_PLANES: Final = (0x300, 0x20000)
"""Code points between which Unicode has marks, and will: asking all 1.1 million would cost ten times as much."""
DISGUISED: Final = "\u0f73\u0f75\u0f81\uff9e\uff9f"
"""What counts as no mark but becomes one, or two, when it is decomposed."""


def nfc(text: str) -> str:
    """Canonical composition, without the marks of a run that pass RUN_CAP. Linear."""
    return text if text.isascii() else unicodedata.normalize("NFC", stream_safe(text))


def nfkc(text: str) -> str:
    """Compatibility composition, without the marks of a run that pass RUN_CAP. Linear; up to 18 times as long."""
    return text if text.isascii() else unicodedata.normalize("NFKC", stream_safe(text))


def stream_safe(text: str) -> str:
    """A text without the marks that pass RUN_CAP in a row, be they composed or not. Linear."""
    mark, overlong = _patterns()
    # A longer run covers one of these places, so most texts need not be searched whole.
    return overlong.sub(_capped, text) if mark.search(text[:: RUN_CAP + 1]) else text


def _capped(run: re.Match[str]) -> str:
    return run[0][:RUN_CAP]


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A mark, and a run of too many. Made when first needed, from the tables of this Python: a few milliseconds."""
    ranges: list[list[str]] = []
    for mark in sorted({*filter(unicodedata.combining, map(chr, range(*MARK_PLANES))), *DISGUISED}):
        if ranges and ord(mark) == ord(ranges[-1][1]) + 1:
            ranges[-1][1] = mark
        else:
            ranges.append([mark, mark])
    marks = "".join(f"{first}-{last}" for first, last in ranges)
    return re.compile(f"[{marks}]"), re.compile(f"[{marks}]{{{RUN_CAP + 1},}}")
