"""House rules 4 and 5 and the glossary: one meaning for each word, and nothing left over in any file."""

import ast
import re
from collections.abc import Iterable, Iterator

import pytest

from tests.house.source import (
    PACKAGE,
    ROOT,
    Function,
    Module,
    Rule,
    faults,
    none,
    plain_types,
    snippet,
    strings,
    tracked,
    words,
)

CORE = {"values", "infra", "audit", "chain", "identity", "billing", "leases", "mail", "sending", "webhooks", "live"}
# Word, where it is banned, and what to say instead. `account_id` is the contract's second name of a mailbox.
BANNED = (
    (re.compile(r"^accounts?$"), CORE, "an unqualified account: say wallet, mailbox, tenant or ledger account"),
    (re.compile(r"(^|_)credits(?![a-z])"), CORE, "credits: say balance"),
    (
        re.compile(r"(^|_)transactions?(?![a-z])"),
        {"billing", "chain"},
        "a transaction: say transfer or payment",
    ),
    (
        re.compile(r"(^|_)(delivery|deliveries)(?![a-z])"),
        CORE - {"webhooks", "live", "values"},  # values/ids.py names what all slices have
        "a delivery: only webhooks make them",
    ),
)
# A letter in brackets keeps these patterns from finding themselves, a tilde does it for the cases below.
LEFTOVERS = re.compile(
    r"\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K|NotImplemented[E]rror)\b|(?i:\bplace[h]olders?\b(?!=)|\bfor [n]ow\b)"
)
MACHINE = re.compile(
    r"(?<![\w.])/(?:wor[k]|roo[t](?=/)|hom[e]/\w+|tmp/brie[f]|opt/(?:wheel[s]|pyp[i]))(?![a-z-])"
    r"|\bpypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|proxy[.]golang[.]org|deb[.]debian[.]org"
)
# Mails and cases are quoted as they came.
FOREIGN = re.compile(r"^tests/(corpus|vectors)/|\.(eml|png|ico|woff2|gz|lock)$")
MONEY = re.compile(r"(^|_)(micros|usdc)$", re.IGNORECASE)
DATABASE_TIME = re.compile(
    r"\b(now\(\)|clock_timestamp\(\)|transaction_timestamp\(\)|current_(timestamp|date)\b)", re.IGNORECASE
)


def banned_word(module: Module) -> Iterable[str]:
    for node, name in _given_names(module):
        plain = "_".join(words(name)) + ("()" if isinstance(node, Function) else "")  # a verb may account for things
        for pattern, places, what in BANNED:
            if module.slice in places and pattern.search(plain):
                yield module.fault(node, f"{name} is {what}")


def leftover(module: Module) -> Iterable[str]:
    return _lines_with(module, LEFTOVERS, "left over")


def machine_trace(module: Module) -> Iterable[str]:
    return _lines_with(module, MACHINE, "of one machine or registry")


def float_money(module: Module) -> Iterable[str]:
    """Money is `Usdc`; no float holds it, no true division makes one of it (house rule 5)."""
    for node in ast.walk(module.tree):
        match node:
            case ast.arg(arg=name, annotation=kind) | ast.AnnAssign(target=ast.Name(id=name), annotation=kind):
                if MONEY.search(name) and "float" in plain_types(kind):
                    yield module.fault(node, f"{name} is money in a float")
            case ast.FunctionDef(name=name, returns=kind) | ast.AsyncFunctionDef(name=name, returns=kind):
                if MONEY.search(name) and "float" in plain_types(kind):
                    yield module.fault(node, f"{name} gives money as a float")
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                if any(MONEY.search(_last_name(side)) for side in (left, right)):
                    yield module.fault(node, f"{ast.unparse(node)} makes a float of money")
            case ast.Call(func=ast.Name(id="float" | "round"), args=[first, *_]):
                if MONEY.search(_last_name(first)):
                    yield module.fault(node, f"{ast.unparse(node)} makes a float of money")


def database_time(module: Module) -> Iterable[str]:
    """Business decisions take the time from the Clock, also inside SQL (house rule 4)."""
    for line, text in strings(module):
        if module.slice != "infra" and DATABASE_TIME.search(text):
            yield module.fault(line, "the database's clock decides; pass the Clock's time as a parameter")


def _given_names(module: Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(module.tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node, name


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).split(".")[-1]


def _lines_with(module: Module, pattern: re.Pattern[str], what: str) -> Iterator[str]:
    for number, line in enumerate(module.text.splitlines(), 1):
        if found := pattern.search(line):
            yield module.fault(number, f"{found[0]!r} is {what}")


def _all_texts() -> Iterator[Module]:
    for path in tracked():
        if not FOREIGN.search(path):
            yield Module(path, (ROOT / path).read_bytes().decode("utf-8", "replace"))


@pytest.mark.parametrize("rule", [banned_word, float_money, database_time])
def test_the_house_keeps(rule: Rule) -> None:
    none(faults(rule))


@pytest.mark.parametrize("rule", [leftover, machine_trace])
def test_every_tracked_file_keeps(rule: Rule) -> None:
    none(fault for module in _all_texts() for fault in rule(module))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (banned_word, "leases/model.py", "class Account: ..."),
        (banned_word, "leases/model.py", "def f(account): ..."),
        (banned_word, "billing/model.py", "class A:\n  credits: int"),
        (banned_word, "billing/model.py", "def post_transaction(): ..."),
        (banned_word, "mail/service.py", "delivery = 1"),
        (leftover, "mail/otp.py", "# TO~DO: later"),
        (leftover, "mail/otp.py", "raise NotImplemented~Error"),
        (leftover, "mail/otp.py", "# a place~holder"),
        (leftover, "mail/otp.py", "# good enough For ~now."),
        (leftover, "mail/otp.py", "x = 1  # X~XX"),
        (machine_trace, "mail/otp.py", "open('/wo~rk/shared/x')"),
        (machine_trace, "mail/otp.py", "open('/ro~ot/.cache')"),
        (machine_trace, "mail/otp.py", "# /ho~me/bob/x"),
        (machine_trace, "mail/otp.py", "url = 'https://py~pi.org/simple'"),
        (float_money, "billing/model.py", "def f(amount_usdc: float): ..."),
        (float_money, "billing/model.py", "class A:\n  micros: float | None"),
        (float_money, "billing/model.py", "def total_micros() -> float: ..."),
        (float_money, "billing/model.py", "x = price.micros / 2"),
        (float_money, "billing/model.py", "x = float(self.amount_micros)"),
        (database_time, "leases/store.py", "Q = 'SELECT 1 FROM leases WHERE expires_at > NOW()'"),
        (database_time, "leases/store.py", "Q = 'SELECT 1 FROM leases WHERE expires_at > current_timestamp'"),
    ],
)
def test_it_bites(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule(snippet(text.replace("~", ""), PACKAGE + path)))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (banned_word, "leases/http.py", "def f(account_id): ...\ndef _account(): ..."),
        (banned_word, "identity/siwe.py", "from eth_account import Account\nx = Account.recover()"),
        (banned_word, "identity/service.py", "async with connection.transaction(): ..."),
        (banned_word, "webhooks/model.py", "class Delivery: ..."),
        (leftover, "pages/x.py", "'<input place~holder=\"name\">'  # to do; not implemented"),
        (machine_trace, "mail/otp.py", "x = '/v2/home/work' or 'https://site.example/wo~rk/x' or '/workers'"),
        (float_money, "billing/model.py", "def f(micros: int): return micros // 2\nwait_s: float = 1 / 2"),
        (database_time, "infra/jobs.py", "Q = 'SELECT now()'"),
        (database_time, "leases/store.py", "Q = 'SELECT known() FROM leases WHERE expires_at > $1'"),
    ],
)
def test_it_lets_good_work_pass(rule: Rule, path: str, text: str) -> None:
    assert list(rule(snippet(text.replace("~", ""), PACKAGE + path))) == []


def test_the_tracked_files_are_seen() -> None:
    assert {"pyproject.toml", "Makefile", "README.md", ".ci/run", PACKAGE + "values/errors.py"} <= set(tracked())
    assert not [path for path in tracked() if "__pycache__" in path or path.startswith(".venv")]
