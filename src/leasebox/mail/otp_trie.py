"""Word tables to one fast matcher: a trie of literals, so that a thousand phrases cost little more than ten.

The notation of a table: phrases parted by commas or line ends. `foo` starts a word and may go on ("foos"); `foo.` is
the whole word; `*foo` may also end a compound ("barfoo"). Scripts without gaps between words need no mark.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

_LETTER: Final = r"[^\W\d_]"
_END: Final = "\0"


class Mark(NamedTuple):
    """A phrase found: where it stands, and the name of the table that holds it."""

    start: int
    end: int
    kind: str


class Words:
    """Finds the phrases of several tables in lower-case text; the longest phrase at the earliest place counts."""

    def __init__(self, tables: Mapping[str, str]) -> None:
        self._kinds: dict[str, str] = {}
        edged: dict[str, bool] = {}
        compound: dict[str, bool] = {}
        loose: dict[str, bool] = {}
        for kind, table in tables.items():
            for phrase, whole, inner in _phrases(table):
                self._kinds.setdefault(phrase, kind)
                if inner:
                    compound[phrase] = whole
                (edged if _has_gaps(phrase) else loose).setdefault(phrase, whole)
        self._edged = re.compile(rf"(?<!{_LETTER}){_branch(edged)}")
        self._compound = re.compile(rf"(?<={_LETTER}){_branch(compound)}") if compound else None
        self._loose = re.compile(_branch(loose)) if loose else None
        self._has_loose = re.compile(f"[{''.join(sorted({phrase[0] for phrase in loose}))}]") if loose else None

    def find(self, low: str, start: int, end: int) -> list[Mark]:
        """Marks in low[start:end], in order, not overlapping. Linear; `low` must be in lower case and NFKC."""
        marks = list(self._marks(self._edged, low, start, end))
        if self._compound:
            marks += self._marks(self._compound, low, start, end)
        if self._loose and self._has_loose and self._has_loose.search(low, start, end):
            marks += self._marks(self._loose, low, start, end)
        marks.sort()
        return _apart(marks)

    def _marks(self, pattern: re.Pattern[str], low: str, start: int, end: int) -> Iterator[Mark]:
        kinds = self._kinds
        for match in pattern.finditer(low, start, end):
            phrase = match[0]
            kind = kinds.get(phrase) or kinds[" ".join(phrase.split())]
            yield Mark(match.start(), match.end(), kind)


def _apart(marks: list[Mark]) -> list[Mark]:
    kept: list[Mark] = []
    for mark in marks:
        if not kept or mark.start >= kept[-1].end:
            kept.append(mark)
    return kept


def _phrases(table: str) -> Iterator[tuple[str, bool, bool]]:
    """(phrase, whole word, may end a compound)"""
    for raw in table.replace("\n", ",").split(","):
        phrase = unicodedata.normalize("NFKC", raw.strip()).lower()
        if phrase:
            inner, whole = phrase.startswith("*"), phrase.endswith(".")
            yield phrase.strip("*."), whole, inner


def _has_gaps(phrase: str) -> bool:
    """Latin, Greek and Cyrillic put gaps between words; what begins with another sign may stand anywhere."""
    return phrase[0] < "\u0530" and phrase[0].isalpha()


def _branch(phrases: Mapping[str, bool]) -> str:
    """A pattern that matches the longest of the phrases (value: only if no letter follows)."""
    root: dict[str, dict[str, object]] = {}
    for phrase, whole in phrases.items():
        node: dict[str, object] = root  # type: ignore[assignment]
        for sign in phrase:
            node = node.setdefault(sign, {})  # type: ignore[assignment]
        node[_END] = whole
    return _pattern(root)


def _pattern(node: Mapping[str, object]) -> str:
    ways = [
        (r"\s+" if sign == " " else re.escape(sign)) + _pattern(child)
        for sign, child in node.items()
        if isinstance(child, dict)
    ]
    end = node.get(_END)
    if end is not None:
        ways.append(rf"(?!{_LETTER})" if end else "")
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"
