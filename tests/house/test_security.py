"""SECURITY.md names a test for every line of its tables, and each of them exists."""

import ast
import re
from collections.abc import Iterable, Mapping

from tests.house.source import ROOT, Module, modules, snippet

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


def passages(found: Iterable[Module]) -> list[str]:
    """Where a tenant's work passes through the wall (infra/wall.py), and why: as the list in SECURITY.md has it."""
    calls = (
        (module, node)
        for module in found
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".across_tenants", "wall.outside"))
    )
    return sorted(f"- `{module.inside}`: {_why(node)}" for module, node in calls)


def verbs_outside(texts: Mapping[str, str]) -> list[str]:
    """Verbs in SQL that take the wall down, in the same form. texts: SQL by path."""
    parts = ((path, part) for path, text in texts.items() for part in text.split("-- verb: ")[1:])
    return sorted(f"- `{path}`: {part.split()[0]}" for path, part in parts if "stand_behind(NULL)" in part)


def _why(call: ast.Call) -> str:
    match call.args:
        case [ast.Constant(value=str(why))]:
            return why
    return f"{ast.unparse(call)} does not say why"


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


def test_every_passage_through_the_wall_is_told_of() -> None:
    listed = re.findall(
        r"^- `\S+`: .+$", _paper().partition("### Between tenants")[2].partition("###")[0], re.MULTILINE
    )
    folder = ROOT / "migrations" / "sql"
    verbs = verbs_outside({f"migrations/sql/{path.name}": path.read_text() for path in folder.iterdir()})
    assert sorted([*passages(modules()), *verbs]) == listed


def test_a_passage_without_a_reason_is_caught() -> None:
    made = "async def f(tx):\n  async with tx.across_tenants(why):\n    pass\n  with wall.outside('a loop'):\n    pass"
    found = passages([snippet(made)])
    assert found == ["- `leases/service.py`: a loop", "- `leases/service.py`: tx.across_tenants(why) does not say why"]


def test_a_verb_that_takes_the_wall_down_is_caught() -> None:
    text = "-- verb: good\nPERFORM stand_behind(for_tenant);\n-- verb: bad\nPERFORM stand_behind(NULL);"
    assert verbs_outside({"a.sql": text}) == ["- `a.sql`: bad"]


def test_a_test_that_does_not_exist_is_caught() -> None:
    gone = "`tests/house/test_security.py::test_gone` `tests/nowhere.py::test_a` `tests/house/test_security.py::named`"
    assert len(missing(named(gone))) == 3
    assert missing(named("`tests/house/test_security.py::test_a_test_that_does_not_exist_is_caught`")) == []


def test_an_attack_without_a_test_is_caught() -> None:
    table = "## Attacks\n| attack | what | test |\n|---|---|---|\n| a | b | {} |\n## Out of scope\n"
    assert len(unguarded(table.format("some day"))) == 1
    assert unguarded(table.format("`tests/a.py::test_b`")) == []
