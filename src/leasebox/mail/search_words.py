"""Text as PostgreSQL's full-text search takes it: one spelling for a word, and words where a script writes none.

Its parser cuts words at spaces. Chinese, Japanese and Thai have none, and Korean glues its particles on, so there each
character counts as a word and a sought word is a phrase of them.
"""

import re
from typing import Final

from leasebox.values.normal_form import nfkc

INDEXED_CHARS: Final = 50_000
"""Characters of a text that can be found."""
# Thai, Lao, Burmese, Khmer; kana; Han with its extensions; Hangul syllables.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_CHARACTER: Final = re.compile(f"[{_UNSPACED}]")
_RUN: Final = re.compile(f"[{_UNSPACED}]+")
_QUOTED: Final = re.compile(r'("[^"]*"?)')


def indexed(text: str) -> str:
    """A text of a mail as it is indexed: lower case, compatibility forms folded (NFKC), unspaced scripts spaced."""
    return _CHARACTER.sub(r" \g<0> ", _folded(text[:INDEXED_CHARS]))


def sought(text: str) -> str:
    """A search in the syntax of `websearch_to_tsquery` (quotes, `or`, `-`), folded like what it searches."""
    # Every other piece stands within the searcher's own quotes.
    pieces = _QUOTED.split(_folded(text))
    return "".join(
        _CHARACTER.sub(r" \g<0> ", piece) if place % 2 else _RUN.sub(_phrase, piece)
        for place, piece in enumerate(pieces)
    )


def _phrase(run: re.Match[str]) -> str:
    return f'"{" ".join(run[0])}"'


def _folded(text: str) -> str:
    return nfkc(text).lower()
