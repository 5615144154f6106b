"""Text files with `{{words}}` in them. Shell and JSON are full of `$` and `{`, so two braces mark a word."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

_WORD = re.compile(r"\{\{([a-z_]+)\}\}")
_FOLDER = Path(__file__).parent / "templates"


def fill(text: str, words: Mapping[str, str], shown: Callable[[str], str] = str) -> str:
    """Put `shown(word)` in place of each `{{word}}`. Raises KeyError for a word that is not given."""
    return _WORD.sub(lambda found: shown(words[found[1]]), text)


@cache
def load(name: str) -> str:
    """A template by its path under `templates`."""
    return (_FOLDER / name).read_text("utf-8")


@cache
def chapters(folder: str) -> tuple[str, ...]:
    """All Markdown files of a folder in the order of their names: a chapter is added by adding its file."""
    return tuple(path.read_text("utf-8") for path in sorted((_FOLDER / folder).glob("*.md")))
