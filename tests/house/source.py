"""The house's own files, as text and as syntax trees, for the rules beside this file."""

import ast
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "src/leasebox/"
_SKIPPED = re.compile(r"^(\.(?!ci$|editorconfig$|gitignore$).*|__pycache__|build|dist|.*\.egg-info)$")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file; `path` is relative to the top of the clone."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def inside(self) -> str:
        """The path within the package: `mail/smtp.py`."""
        return self.path.removeprefix(PACKAGE)

    @property
    def slice(self) -> str:
        """The top-level name it belongs to: `mail`, or `config` for `config.py`."""
        return self.inside.split("/")[0].removesuffix(".py")

    @property
    def stem(self) -> str:
        return Path(self.path).stem

    def fault(self, node: ast.AST | int, what: str) -> str:
        line = node if isinstance(node, int) else getattr(node, "lineno", 1)
        return f"{self.path}:{line}: {what}"

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))

    def imports(self) -> Iterator[tuple[int, str, str]]:
        """Line, local name and dotted origin of all that is imported, wherever in the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield node.lineno, name.asname or name.name.split(".")[0], name.name
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    yield node.lineno, name.asname or name.name, f"{node.module}.{name.name}"


Rule = Callable[[Module], Iterable[str]]


def snippet(text: str, path: str = PACKAGE + "leases/service.py") -> Module:
    """A file that does not exist, to show that a rule bites."""
    return Module(path, text)


@lru_cache
def modules(top: str = PACKAGE) -> tuple[Module, ...]:
    """All Python files under `top`."""
    return tuple(
        Module(path, (ROOT / path).read_text("utf-8"))
        for path in tracked()
        if path.startswith(top) and path.endswith(".py")
    )


@lru_cache
def tracked() -> tuple[str, ...]:
    """All files that git holds or would take; without git, all that do not look generated."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    paths = listing.stdout.decode().split("\0") if listing.returncode == 0 else _walk()
    return tuple(sorted(path for path in set(paths) if path and (ROOT / path).is_file()))


def _walk() -> Iterator[str]:
    for folder, inner, files in os.walk(ROOT):
        inner[:] = [name for name in inner if not _SKIPPED.match(name)]
        for name in files:
            if not _SKIPPED.match(name):
                yield (Path(folder) / name).relative_to(ROOT).as_posix()


def faults(rule: Rule, top: str = PACKAGE) -> list[str]:
    """What `rule` finds in the files under `top`."""
    return [fault for module in modules(top) for fault in rule(module)]


def none(found: Iterable[str]) -> None:
    """Fails with all that was found, one a line."""
    if listed := "\n".join(found):
        pytest.fail(listed, pytrace=False)


def parameters(function: Function | ast.Lambda) -> list[ast.arg]:
    """All parameters of a function, whatever their kind."""
    spec = function.args
    starred = [arg for arg in (spec.vararg, spec.kwarg) if arg is not None]
    return [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *starred]


def plain_types(annotation: ast.expr | None) -> set[str]:
    """The types that a value of this annotation itself can have: `{"Tx", "None"}` for `Tx | None`.

    What stands inside a container or a callable is not meant: `Callable[[Tx], bool]` gives `{"Callable"}`.
    """
    match annotation:
        case ast.Constant(value=str(text)):
            return plain_types(ast.parse(text, mode="eval").body)
        case ast.Constant(value=None):
            return {"None"}
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return {name}
        case ast.BinOp(left=left, right=right):
            return plain_types(left) | plain_types(right)
        case ast.Subscript(value=ast.Name(id="Optional" | "Annotated" | "Union"), slice=inner):
            first = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return set().union(*(plain_types(each) for each in first))
        case ast.Subscript(value=outer):
            return plain_types(outer)
        case _:
            return set()


def strings(module: Module) -> Iterator[tuple[int, str]]:
    """Line and text of all string literals but docstrings; parts of f-strings one by one."""
    documented = {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value


def words(name: str) -> list[str]:
    """`MailBox_ids` → `["mail", "box", "ids"]`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
