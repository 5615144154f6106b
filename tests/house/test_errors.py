"""House rule 7: one tree of errors, each with a code and a fix; nobody raises Litestar's."""

import ast
import re
from collections.abc import Iterable, Sequence

import pytest

from tests.house.source import PACKAGE, Module, faults, modules, none, snippet

ROOT_ERROR = "LeaseboxError"
CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def raises_for_the_framework(module: Module) -> Iterable[str]:
    """Only infra/web knows Litestar's errors: it renders them beside ours."""
    if module.inside.startswith("infra/web"):
        return
    for line, _, origin in module.imports():
        if origin.startswith("litestar.exceptions"):
            yield module.fault(line, f"{origin}: raise a LeaseboxError instead")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Raise) and node.exc and "HTTPException" in ast.unparse(node.exc):
            yield module.fault(node, "raise a LeaseboxError instead of HTTPException")


def bare(module: Module) -> Iterable[str]:
    """`raise Exception` tells a caller nothing."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Raise) and node.exc:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if ast.unparse(raised) in {"Exception", "BaseException", ROOT_ERROR}:
                yield module.fault(node, f"raises {ast.unparse(raised)}: name what happened")


def unclear(files: Sequence[Module]) -> list[str]:
    """Errors without code or fix, and codes or kinds that two branches of the tree share."""
    found = []
    classes = _classes(files)
    tree = {name: each for name, each in classes.items() if ROOT_ERROR in _line(name, classes)}
    owners: dict[str, str] = {}
    for name, (module, node) in tree.items():
        own = _words(node)
        line = [_words(tree[each][1]) for each in _line(name, tree)]
        code = next((words["code"] for words in line if "code" in words), "")
        fix = next((words["fix"] for words in line if "fix" in words), "")
        if not CODE.fullmatch(code):
            found.append(module.fault(node, f"{name} has no code in snake_case"))
        if not re.match(r"(?s)[A-Z].*\.$", fix):
            found.append(module.fault(node, f"{name} has no fix that is a sentence"))
        if "kind" in own and "code" not in own:
            found.append(module.fault(node, f"{name} has a kind of its own, so it needs a code of its own"))
        if "code" in own and owners.setdefault(own["code"], name) != name:
            found.append(module.fault(node, f"{name} shares the code {own['code']} with {owners[own['code']]}"))
    return found


def _classes(files: Sequence[Module]) -> dict[str, tuple[Module, ast.ClassDef]]:
    return {node.name: (module, node) for module in files for node in module.classes()}


def _line(name: str, classes: dict[str, tuple[Module, ast.ClassDef]]) -> list[str]:
    """The class and all it descends from, nearest first."""
    if name not in classes:
        return []
    return [name, *(up for base in classes[name][1].bases for up in _line(ast.unparse(base).split(".")[-1], classes))]


def _words(node: ast.ClassDef) -> dict[str, str]:
    """What the class says itself; a text that is not written out here stands for a sentence."""
    said = {}
    for step in node.body:
        match step:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value):
                said[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                said[name] = value
    return {name: _written(value) for name, value in said.items()}


def _written(value: ast.expr) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else "Elsewhere."


def test_the_house_keeps_its_own_errors() -> None:
    none(faults(raises_for_the_framework))
    none(faults(bare))
    none(unclear(modules()))


@pytest.mark.parametrize(
    "text",
    [
        "from litestar.exceptions import NotFoundException",
        "import litestar.exceptions",
        "def f(): raise HTTPException(status_code=404)",
        "def f(): raise exceptions.HTTPException",
    ],
)
def test_raising_for_the_framework_is_caught(text: str) -> None:
    assert len(list(raises_for_the_framework(snippet(text)))) == 1
    assert not list(raises_for_the_framework(snippet(text, PACKAGE + "infra/web/problem.py")))


@pytest.mark.parametrize("text", ["raise Exception", "raise Exception('no')", "raise LeaseboxError('no')"])
def test_a_bare_error_is_caught(text: str) -> None:
    assert len(list(bare(snippet(text)))) == 1


TREE = "class LeaseboxError(Exception):\n  kind = 1\n  code = 'bad_request'\n  fix = 'Correct it.'\n"


@pytest.mark.parametrize(
    "text",
    [
        "class A(LeaseboxError):\n  code = 'Bad-Code'",
        "class A(LeaseboxError):\n  code = ''",
        "class A(LeaseboxError):\n  fix = ''",
        "class A(LeaseboxError):\n  fix = 'no sentence'",
        "class A(LeaseboxError):\n  kind = Kind.GONE",
        "class A(LeaseboxError):\n  code = 'a'\nclass B(LeaseboxError):\n  code = 'a'",
        "class A(LeaseboxError): ...\nclass B(errors.A):\n  code: ClassVar[str] = 'B'",
    ],
)
def test_an_unclear_error_is_caught(text: str) -> None:
    assert len(unclear([snippet(TREE + text)])) == 1


def test_a_clear_tree_passes() -> None:
    kinds = "class A(LeaseboxError):\n  kind = Kind.GONE\n  code = 'a_b'\n  fix = _AGAIN\nclass B(A): ..."
    others = "class C(Exception): ..."
    assert unclear([snippet(TREE + kinds), snippet(others)]) == []
