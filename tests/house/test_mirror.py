"""House layout and rule 14: tests mirror the sources, public things say what they do, a test can fail."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.house.source import PACKAGE, ROOT, Function, Module, Rule, faults, modules, none, snippet

SKIPPABLE = re.compile(r"\babsent\b")


def lonely(module: Module, root: Path = ROOT) -> Iterable[str]:
    """A file with logic has its own test file; what only names, declares or refuses has none to test."""
    if module.stem in {"__init__", "__main__", "errors", "tables"} or not any(map(_does_something, module.functions())):
        return
    mirror = Path("tests") / Path(module.inside).with_name(f"test_{module.stem}.py")
    if not (root / mirror).is_file() or "def test_" not in (root / mirror).read_text():
        yield module.fault(1, f"no tests of its own in {mirror}")


def wordless(module: Module) -> Iterable[str]:
    """Every file says what it is; services, values and infra say it of each public thing."""
    if module.text.strip() and not ast.get_docstring(module.tree):
        yield module.fault(1, "the file does not say what it is")
    if module.stem != "service" and module.slice not in {"values", "infra"}:
        return
    for node in module.tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_") and not _speaks(node):
            yield module.fault(node, f"{node.name} has no docstring")


def cannot_fail(module: Module) -> Iterable[str]:
    """A test asserts something that could be otherwise, itself or through a function of ours."""
    asserting = _asserting(module.tree) | _SHARED
    for function in module.functions():
        if function.name.startswith("test_") and not _asserts(function, asserting):
            yield module.fault(function, f"{function.name} asserts nothing")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant | ast.Tuple | ast.JoinedStr):
            yield module.fault(node, f"{ast.unparse(node)} cannot fail")


def looks_away(module: Module) -> Iterable[str]:
    """Skipped is only what needs vectors or engines that are absent, and it says so; nothing is expected to fail."""
    decorators = {id(each) for node in ast.walk(module.tree) for each in getattr(node, "decorator_list", [])}
    calls = {id(node.func) for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in {"xfail", "importorskip"}:
            yield module.fault(node, f"{node.attr}: make it work or leave it out")
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("pytest.skip", "mark.skip", "mark.skipif")):
            always = id(node) in decorators and ast.unparse(node.func).endswith("mark.skip")
            if always or not SKIPPABLE.search(" ".join(_texts(node))):
                yield module.fault(node, "a skip says what is absent, and runs where it is there")
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("mark.skip") and id(node) not in calls:
            yield module.fault(node, "a test that never runs")


def _does_something(function: Function) -> bool:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return any(not isinstance(step, ast.Pass) and ast.unparse(step) != "..." for step in body)


def _speaks(node: Function | ast.ClassDef) -> bool:
    return bool(ast.get_docstring(node)) or (isinstance(node, ast.ClassDef) and _is_kind_of(node))


def _is_kind_of(node: ast.ClassDef) -> bool:
    """A kind of something that is documented: it only fills in its words, such as a prefix, a code or a fix."""
    plain = all(isinstance(step, ast.Assign) for step in node.body)
    return bool(node.bases) and (plain or any(_assigned(step) in {"code", "fix"} for step in node.body))


def _assigned(step: ast.stmt) -> str:
    return ast.unparse(step.targets[0]) if isinstance(step, ast.Assign) else ""


def _texts(call: ast.AST) -> list[str]:
    return [node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _called(function: ast.AST) -> set[str]:
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {ast.unparse(called).split(".")[-1] for called in calls}


def _asserts(function: ast.AST, asserting: set[str]) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or bool(_called(function) & asserting)


def _asserting(tree: ast.Module) -> set[str]:
    """Names of the functions in this file that assert, directly or through one another."""
    found = {"raises", "fail", "warns"}
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    while more := {each.name for each in functions if each.name not in found and _asserts(each, found)}:
        found |= more
    return found


_SHARED = {name for module in modules("tests/") if "def test_" not in module.text for name in _asserting(module.tree)}


@pytest.mark.parametrize("rule", [lonely, wordless])
def test_the_house_keeps(rule: Rule) -> None:
    none(faults(rule))


@pytest.mark.parametrize("rule", [cannot_fail, looks_away])
def test_the_tests_keep(rule: Rule) -> None:
    none(faults(rule, "tests/"))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (lonely, "def f(): return 1"),
        (lonely, "class A:\n  def f(self):\n    '''Says.'''\n    return 1"),
        (wordless, "x = 1"),
        (wordless, "'''Says.'''\ndef grant(): return 1"),
        (wordless, "'''Says.'''\nclass Lease:\n  def f(self): ..."),
        (cannot_fail, "def test_it():\n  f()"),
        (cannot_fail, "def f(): return 1\nasync def test_it():\n  await f()"),
        (cannot_fail, "def test_it():\n  assert True"),
        (cannot_fail, "def test_it():\n  assert (x == 1, 'always true')"),
        (looks_away, "@pytest.mark.skip(reason='absent')\ndef test_it(): assert x"),
        (looks_away, "pytestmark = pytest.mark.skip"),
        (looks_away, "x = pytest.param({}, marks=pytest.mark.skip(reason='slow'))"),
        (looks_away, "@pytest.mark.xfail\ndef test_it(): assert x"),
        (looks_away, "def test_it():\n  pytest.skip()\n  assert x"),
        (looks_away, "def test_it():\n  pytest.skip('flaky')\n  assert x"),
        (looks_away, "@pytest.mark.skipif(slow, reason='slow')\ndef test_it(): assert x"),
        (looks_away, "x = pytest.importorskip('x')"),
    ],
)
def test_it_bites(rule: Rule, text: str) -> None:
    assert len(list(rule(snippet(text, PACKAGE + "nowhere/service.py")))) == 1


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (
            lonely,
            "class Lease(Struct):\n  id: int\nclass Clock(Protocol):\n  def now(self) -> int:\n    '''Now.'''\n    ...",
        ),
        (wordless, "'''Says.'''\ndef grant():\n  '''Gives.'''\ndef _leaf(): return 1"),
        (wordless, "'''Says.'''\nclass Gone(Refused):\n  code = 'gone'"),
        (cannot_fail, "def test_it():\n  with pytest.raises(ValueError):\n    f()"),
        (cannot_fail, "def g(): assert x\ndef f(): g()\ndef test_it(): f()"),
        (looks_away, "def test_it():\n  pytest.skip('the vectors are absent')\n  assert x"),
        (looks_away, "x = pytest.param({}, marks=pytest.mark.skip(reason='the vectors are absent'))"),
    ],
)
def test_it_lets_good_work_pass(rule: Rule, text: str) -> None:
    assert list(rule(snippet(text, PACKAGE + "nowhere/service.py"))) == []


def test_a_mirror_without_tests_is_none(tmp_path: Path) -> None:
    module = snippet("def f(): return 1", PACKAGE + "mail/otp.py")
    (tmp_path / "tests/mail").mkdir(parents=True)
    (tmp_path / "tests/mail/test_otp.py").write_text("")
    assert list(lonely(module, tmp_path))
    (tmp_path / "tests/mail/test_otp.py").write_text("def test_it(): assert f()")
    assert not list(lonely(module, tmp_path))
