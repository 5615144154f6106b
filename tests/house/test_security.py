"""SECURITY.md names a test for every line of its tables, and each of them exists."""

import ast
import re
from collections.abc import Iterable

from tests.house.source import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\| (?!attack |who |-)(.+) \|$", re.MULTILINE)


def named(text: str) -> list[tuple[str, str]]:
    """The tests that a text names, each as path and function."""
    return NAMED.findall(text)


def missing(tests: Iterable[tuple[str, str]]) -> list[str]:
    """Those of them that do not exist, or are no test."""
    return [f"{path}::{name}" for path, name in tests if not name.startswith("test_") or name not in _functions(path)]


def unguarded(text: str) -> list[str]:
    """Lines of the tables of attacks whose last cell is not one test."""
    tables = text.partition("## Attacks")[2].partition("## Out of scope")[0]
    return [row for row in ROW.findall(tables) if not re.fullmatch(NAMED, row.split(" | ")[-1])]


def _functions(path: str) -> set[str]:
    file = ROOT / path
    if not file.is_file():
        return set()
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _paper() -> str:
    return (ROOT / "SECURITY.md").read_text("utf-8")


def test_every_test_that_is_named_exists() -> None:
    assert missing(named(_paper())) == []


def test_every_attack_has_its_test() -> None:
    assert unguarded(_paper()) == []
    assert len(named(_paper())) >= 45


def test_a_test_that_does_not_exist_is_caught() -> None:
    gone = "`tests/house/test_security.py::test_gone` `tests/nowhere.py::test_a` `tests/house/test_security.py::named`"
    assert len(missing(named(gone))) == 3
    assert missing(named("`tests/house/test_security.py::test_a_test_that_does_not_exist_is_caught`")) == []


def test_an_attack_without_a_test_is_caught() -> None:
    table = "## Attacks\n| attack | what | test |\n|---|---|---|\n| a | b | {} |\n## Out of scope\n"
    assert len(unguarded(table.format("some day"))) == 1
    assert unguarded(table.format("`tests/a.py::test_b`")) == []
