"""House rule 12: lengths, flags and names."""

import ast
from collections.abc import Iterable

import pytest

from tests.house.source import (
    PACKAGE,
    Function,
    Module,
    Rule,
    faults,
    modules,
    none,
    parameters,
    plain_types,
    snippet,
    words,
)

FILE_LINES, FUNCTION_LINES = 400, 60
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "data", "common", "misc"}
# (file, function, parameter): why somebody else's protocol forces a flag on us.
FORCED_FLAGS: dict[tuple[str, str, str], str] = {}


def long_file(module: Module) -> Iterable[str]:
    count = len(module.text.splitlines())
    if count > FILE_LINES:
        yield module.fault(1, f"{count} lines; a file has at most {FILE_LINES}")


def long_function(module: Module) -> Iterable[str]:
    for function in module.functions():
        count = (function.end_lineno or 0) - function.lineno + 1
        if count > FUNCTION_LINES:
            yield module.fault(function, f"{function.name} has {count} lines; a function has at most {FUNCTION_LINES}")


def flag_parameter(module: Module) -> Iterable[str]:
    """A command's parameter is the user's own flag, so functions under click's decorators may have some."""
    for function in module.functions():
        switched = _with_flag_default(function)
        for arg in parameters(function):
            is_flag = "bool" in plain_types(arg.annotation) or arg in switched
            if is_flag and not _is_command(function) and (module.inside, function.name, arg.arg) not in FORCED_FLAGS:
                yield module.fault(arg, f"{function.name}({arg.arg}) is a flag; say it with two verbs or an enum")


def empty_name(module: Module) -> Iterable[str]:
    for part in module.inside.removesuffix(".py").split("/"):
        if EMPTY_NAMES & set(part.split("_")) and part != "smtp_data":
            yield module.fault(1, f"{part} says nothing; name the noun that it is about")
    for node in (*module.classes(), *module.functions()):
        last = words(node.name)[-1:]
        if EMPTY_NAMES & set(last) and not _is_smtp_data(module, node.name):
            yield module.fault(node, f"{node.name} says nothing; name what it is or does")


def _is_smtp_data(module: Module, name: str) -> bool:
    # DATA is a command of SMTP (RFC 5321 §4.1.1.4).
    return module.slice in {"mail", "sending"} and words(name)[-1] == "data"


def _is_command(function: Function) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in {"command", "group", "option"}
        for decorator in function.decorator_list
        for node in ast.walk(decorator)
    )


def _with_flag_default(function: Function) -> list[ast.arg]:
    spec = function.args
    positional = [*spec.posonlyargs, *spec.args]
    pairs = [
        *zip(positional[len(positional) - len(spec.defaults) :], spec.defaults, strict=True),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ]
    return [arg for arg, value in pairs if isinstance(value, ast.Constant) and isinstance(value.value, bool)]


@pytest.mark.parametrize("rule", [long_file, long_function, flag_parameter, empty_name])
def test_the_house_keeps(rule: Rule) -> None:
    none(faults(rule))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (long_file, "x = 1\n" * 401),
        (long_function, "def f():\n" + "    x = 1\n" * 60),
        (long_function, "class A:\n  async def f(self):\n" + "    x = 1\n" * 60),
        (flag_parameter, "def f(quick: bool): ..."),
        (flag_parameter, "def f(*, quick: bool | None = None): ..."),
        (flag_parameter, "def f(quick: 'bool', /): ..."),
        (flag_parameter, "def f(quick: Optional[bool]): ..."),
        (flag_parameter, "class A:\n  async def f(self, *quick: bool): ..."),
        (flag_parameter, "def f(quick=False): ..."),
        (empty_name, "class LeaseManager: ..."),
        (empty_name, "class MessageData: ..."),
        (empty_name, "def mail_helper(): ..."),
    ],
)
def test_it_bites(rule: Rule, text: str) -> None:
    assert len(list(rule(snippet(text)))) == 1


@pytest.mark.parametrize("path", ["utils.py", "leases/common.py", "mail/mime_helpers.py", "data/store.py"])
def test_a_file_without_a_noun_is_caught(path: str) -> None:
    assert list(empty_name(snippet("", PACKAGE + path)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (long_file, "x = 1\n" * 400),
        (long_function, "@a\n@b\ndef f():\n" + "    x = 1\n" * 59),
        (flag_parameter, "class A:\n  quick: bool = False"),
        (flag_parameter, "def f(judge: Callable[[int], bool], seen: dict[str, bool]) -> bool: ..."),
        (flag_parameter, "@main.command()\n@click.option('--json', is_flag=True)\ndef lease(json: bool): ..."),
        (empty_name, "def metadata(): ...\nclass Manage: ...\ndef data_received(): ..."),
    ],
)
def test_it_lets_good_work_pass(rule: Rule, text: str) -> None:
    assert list(rule(snippet(text))) == []


def test_smtp_may_say_data() -> None:
    assert list(empty_name(snippet("class Data: ...", PACKAGE + "mail/smtp.py"))) == []


def stale(forced: Iterable[tuple[str, str, str]], files: Iterable[Module]) -> set[tuple[str, str, str]]:
    """Forced flags that nobody has any more."""
    standing = {
        (module.inside, function.name, arg.arg)
        for module in files
        for function in module.functions()
        for arg in parameters(function)
    }
    return set(forced) - standing


def test_every_forced_flag_still_stands_and_has_a_reason() -> None:
    assert stale(FORCED_FLAGS, modules()) == set()
    assert [reason for reason in FORCED_FLAGS.values() if len(reason.split()) < 4] == []


def test_a_stale_exception_is_caught() -> None:
    files = [snippet("def f(quick): ...")]
    kept, gone = ("leases/service.py", "f", "quick"), ("leases/service.py", "f", "slow")
    assert stale([kept, gone], files) == {gone}
