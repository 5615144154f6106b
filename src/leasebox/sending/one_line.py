"""Text that stands in one line of a header: nothing in it that any reader takes for the line's end. Pure."""

import re

# Controls (C0, DEL, C1 with U+0085), the separators of lines and paragraphs, and halves of surrogate pairs. Joiners and
# wide blanks stay: names and subjects are written with them.
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def is_one_line(text: str) -> bool:
    """Whether a text can stand in a header field, encoded or not."""
    return _BREAKS.search(text) is None


def as_one_line(text: str) -> str:
    """A text of whatever origin as one line: breaks become blanks, and of several blanks one is left."""
    return " ".join(_BREAKS.sub(" ", text).split())
