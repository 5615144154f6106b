"""House rules 1 to 3: who imports whom, who speaks SQL or HTTP, and that no transaction waits for the network."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.house.source import (
    PACKAGE,
    ROOT,
    Function,
    Module,
    Rule,
    faults,
    modules,
    none,
    parameters,
    plain_types,
    snippet,
    strings,
)

# What reaches out of the process. Our own effects count as well: a cache call inside a transaction is one too many.
NETWORK = (
    "aiohttp", "aiosmtplib", "dns.asyncresolver", "dns.resolver", "dns.query", "ftplib", "http.client", "httpx",
    "imaplib", "poplib", "redis", "smtplib", "socket", "ssl", "urllib.request", "web3", "websockets",
    "leasebox.chain", "leasebox.infra.cache.Cache", "leasebox.infra.cache.connect", "leasebox.infra.fetch",
)  # fmt: skip
DIALLING = {"create_connection", "create_datagram_endpoint", "getaddrinfo", "open_connection", "open_unix_connection"}


def goes_sideways(module: Module) -> Iterable[str]:
    """`values` and `client` stand alone; the layers contract of import-linter says the rest of rule 1."""
    allowed = {"values": ("leasebox.values",), "client": ("leasebox.client", "leasebox.values")}.get(module.slice)
    for line, _, origin in _ours(module):
        if allowed and not origin.startswith(allowed):
            yield module.fault(line, f"{module.slice} imports {origin}")
        if origin.startswith("leasebox.client") and module.slice not in {"client", "cli", "mcp"}:
            yield module.fault(line, f"{module.slice} is the server's side; {origin} is the agent's")


def speaks_litestar(module: Module) -> Iterable[str]:
    if _is_door(module):
        return
    for line, _, origin in module.imports():
        if origin.split(".")[0] == "litestar":
            yield module.fault(line, "only http.py, *_http.py, pages, dialects, infra/web and wiring import litestar")


def speaks_sql(module: Module) -> Iterable[str]:
    if f"_{module.stem}".endswith("_store") or module.slice == "infra":
        return
    for line, text in strings(module):
        if looks_like_sql(text):
            yield module.fault(line, f"SQL outside store.py and *_store.py: {' '.join(text.split())[:50]}")
    for line, _, origin in module.imports():
        is_driver = origin.split(".")[0] in {"asyncpg", "sqlalchemy"} and origin != "asyncpg.Record"
        if is_driver and not module.stem.endswith("tables"):
            yield module.fault(line, f"{origin} outside stores, tables and infra")


def composes_sql(module: Module) -> Iterable[str]:
    """A statement is made of literals and of constants in capitals, never of what somebody sent.

    The embedded server's own password is set by ALTER ROLE, which takes no parameters; we drew it ourselves.
    """
    if module.inside.startswith("infra/embedded"):
        return
    for node in ast.walk(module.tree):
        strange: list[ast.expr] = []
        match node:
            case ast.JoinedStr(values=parts) if looks_like_sql(_literal(node)):
                strange = [
                    each for each in parts if isinstance(each, ast.FormattedValue) and not _is_constant(each.value)
                ]
            case ast.BinOp(left=left, op=ast.Add() | ast.Mod(), right=right) if looks_like_sql(_literal(left)):
                strange = [each for each in [right] if not _is_constant(each) and not _literal(each)]
            case ast.Call(func=ast.Attribute(value=text, attr="format" | "replace" | "join")):
                strange = [each for each in [text] if looks_like_sql(_literal(each))]
        for each in strange:
            yield module.fault(node, f"{ast.unparse(each)[:40]} goes into a statement; pass it as a parameter")


def peeks_into_a_store(module: Module) -> Iterable[str]:
    for line, _, origin in _ours(module):
        parts = origin.split(".")
        if len(parts) > 2 and f"_{parts[2]}".endswith("_store") and parts[1] != module.slice:
            yield module.fault(line, f"{origin} is private to {parts[1]}; ask its service")


def waits_inside_a_transaction(module: Module) -> Iterable[str]:
    origins = {local: origin for _, local, origin in module.imports()}
    for function in _borrowers(module):
        name = getattr(function, "name", "lambda")
        for arg in parameters(function):
            if any(_is_network(origins.get(each, "")) for each in plain_types(arg.annotation)):
                yield module.fault(arg, f"{name} takes tx and {arg.arg}, which uses the network")
        for call in _calls(function):
            if _is_network(_dotted(call.func, origins)) or _dotted(call.func, origins).split(".")[-1] in DIALLING:
                yield module.fault(call, f"{name} takes tx and calls {ast.unparse(call.func)}")


def reads_the_environment(module: Module) -> Iterable[str]:
    """Settings are read once, by config; the agent's side has its own, and infra minds what libraries look for.

    A child process is given its environment by `env=`.
    """
    if module.slice in {"config", "cli", "client", "mcp", "__main__", "infra"}:
        return
    handed = (each.value for each in ast.walk(module.tree) if isinstance(each, ast.keyword) and each.arg == "env")
    passed_on = {id(inner) for value in handed for inner in ast.walk(value)}
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Attribute)
            and id(node) not in passed_on
            and ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}
        ):
            yield module.fault(node, "only config reads the environment")


def looks_like_sql(text: str) -> bool:
    """Whether this is a statement, not a sentence: its verb stands first, all in capitals or all in small letters."""
    flat = text.split()
    first = flat[0] if flat else ""
    if first not in {first.upper(), first.lower()}:
        return False
    rest = [word.lower().rstrip("(") for word in flat[1:]]
    match first.lower():
        case "select":
            return "from" in rest or "(" in text
        case "insert" | "delete":
            return rest[:1] in (["into"], ["from"])
        case "update":
            return "set" in rest[1:4]
        case "with":
            return "as" in rest[1:4] and "(" in text
        case "create" | "alter" | "drop" | "truncate" | "grant" | "revoke" | "lock":
            return bool({"table", "index", "function", "trigger", "role", "schema", "database", "on"} & set(rest[:3]))
        case _:
            return False


def _literal(node: ast.expr) -> str:
    """What of a string expression is written out here."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return " x ".join(str(each.value) for each in parts if isinstance(each, ast.Constant))
        case ast.BinOp(left=left, right=right):
            return _literal(left) + _literal(right)
        case _:
            return ""


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id.isupper()


def _is_door(module: Module) -> bool:
    return (
        f"_{module.stem}".endswith("_http")
        or module.slice in {"pages", "dialects", "wiring"}
        or module.inside.startswith(("infra/web.py", "infra/web/"))
    )


def _ours(module: Module) -> Iterator[tuple[int, str, str]]:
    return (each for each in module.imports() if each[2].split(".")[0] == "leasebox")


def _borrowers(module: Module) -> Iterator[Function | ast.Lambda]:
    for node in ast.walk(module.tree):
        if isinstance(node, Function | ast.Lambda) and any(
            arg.arg == "tx" or "Tx" in plain_types(arg.annotation) for arg in parameters(node)
        ):
            yield node


def _calls(function: Function | ast.Lambda) -> Iterator[ast.Call]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Call))


def _dotted(called: ast.expr, origins: dict[str, str]) -> str:
    match called:
        case ast.Name(id=name):
            return origins.get(name, name)
        case ast.Attribute(value=value, attr=attr):
            return f"{_dotted(value, origins)}.{attr}"
        case ast.Call(func=func):
            return _dotted(func, origins)
        case _:
            return ""


def _is_network(dotted: str) -> bool:
    return any(dotted == each or dotted.startswith(each + ".") for each in NETWORK)


RULES = [
    goes_sideways,
    speaks_litestar,
    speaks_sql,
    composes_sql,
    peeks_into_a_store,
    waits_inside_a_transaction,
    reads_the_environment,
]


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps(rule: Rule) -> None:
    none(faults(rule))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (goes_sideways, "values/money.py", "from leasebox.infra import log"),
        (goes_sideways, "client/session.py", "import leasebox.config"),
        (goes_sideways, "client/session.py", "def f():\n  from leasebox.mail import otp"),
        (goes_sideways, "mail/service.py", "from leasebox.client import session"),
        (speaks_litestar, "leases/service.py", "from litestar import Request"),
        (speaks_litestar, "infra/db.py", "import litestar.exceptions as faults"),
        (speaks_sql, "leases/service.py", "Q = 'SELECT id FROM leases'"),
        (speaks_sql, "leases/service.py", "Q = 'select pg_sleep(1)'"),
        (speaks_sql, "leases/service.py", "Q = f'''\n  INSERT INTO {t} (a) VALUES ($1)'''"),
        (speaks_sql, "leases/http.py", "Q = 'UPDATE ONLY leases SET a = 1'"),
        (speaks_sql, "mail/jobs.py", "Q = 'with gone as (delete from a returning id) select * from gone'"),
        (speaks_sql, "mail/jobs.py", "Q = 'TRUNCATE TABLE mails'"),
        (speaks_sql, "mail/jobs.py", "from asyncpg import UniqueViolationError"),
        (composes_sql, "leases/store.py", "Q = f'SELECT id FROM {table}'"),
        (composes_sql, "leases/store.py", "Q = f'SELECT {_COLUMNS} FROM leases WHERE id = {order.id}'"),
        (composes_sql, "leases/store.py", "Q = 'DELETE FROM leases WHERE id = ' + text"),
        (composes_sql, "leases/store.py", "Q = 'DELETE FROM leases WHERE id = %s' % text"),
        (composes_sql, "infra/db.py", "Q = 'SELECT {} FROM leases'.format(text)"),
        (peeks_into_a_store, "mail/service.py", "from leasebox.leases import store"),
        (peeks_into_a_store, "mail/service.py", "from leasebox.leases.store import find"),
        (peeks_into_a_store, "wiring.py", "import leasebox.leases.store"),
        (peeks_into_a_store, "leases/service.py", "from leasebox.mail import reading_store"),
        (waits_inside_a_transaction, "mail/service.py", "import httpx\nasync def f(tx: Tx):\n  await httpx.get('/')"),
        (waits_inside_a_transaction, "mail/service.py", "from redis.asyncio import Redis\ndef f(tx, r: Redis): ..."),
        (
            waits_inside_a_transaction,
            "mail/service.py",
            "from redis import Redis\ndef f(tx: 'Tx | None'): Redis(1)",
        ),
        (waits_inside_a_transaction, "mail/service.py", "import asyncio\ndef f(t: db.Tx): asyncio.open_connection(1)"),
        (waits_inside_a_transaction, "mail/http.py", "import socket\nrun(lambda tx: socket.socket())"),
        (waits_inside_a_transaction, "mail/http.py", "import dns.resolver\ndef f(tx: Tx): dns.resolver.resolve('a')"),
        (
            waits_inside_a_transaction,
            "mail/http.py",
            "from leasebox.infra.cache import Cache\nasync def f(tx: Tx, cache: Cache): ...",
        ),
        (reads_the_environment, "mail/service.py", "import os\nx = os.environ['A']"),
        (reads_the_environment, "wiring.py", "import os\nx = os.getenv('A')"),
    ],
)
def test_it_bites(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule(snippet(text, PACKAGE + path)))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (goes_sideways, "client/session.py", "from leasebox.values.ids import LeaseId"),
        (goes_sideways, "cli/lease.py", "from leasebox.client import session"),
        (speaks_litestar, "leases/http.py", "from litestar import Router"),
        (speaks_litestar, "infra/web/edge.py", "from litestar import Request"),
        (speaks_sql, "leases/store.py", "Q = 'SELECT id FROM leases'"),
        (speaks_sql, "mail/reading_store.py", "Q = 'SELECT id FROM mails'"),
        (speaks_sql, "leases/service.py", "'''select one from many'''\nx = 'Select a mailbox from the list.'"),
        (speaks_sql, "leases/service.py", "x = 'Update what you set before.'\ny = 'Delete from 1 to 3'"),
        (speaks_sql, "leases/tables.py", "from sqlalchemy import Table"),
        (speaks_sql, "billing/invoice_tables.py", "from sqlalchemy import Table"),
        (speaks_sql, "leases/service.py", "from asyncpg import Record"),
        (composes_sql, "leases/store.py", "Q = f'SELECT {_COLUMNS} FROM leases' + _WHERE"),
        (composes_sql, "leases/service.py", "x = f'{name} is gone' + text + 'a'.format(b)"),
        (peeks_into_a_store, "leases/service.py", "from leasebox.leases import store"),
        (waits_inside_a_transaction, "mail/service.py", "import httpx\nasync def f(tx: Tx): await g(tx)"),
        (waits_inside_a_transaction, "mail/http.py", "import httpx\ndef f(open: Callable[[Tx], int]): httpx.get('/')"),
        (reads_the_environment, "config.py", "import os\nx = os.environ"),
        (reads_the_environment, "mail/service.py", "import os\nrun('x', env={'PATH': os.environ['PATH']})"),
    ],
)
def test_it_lets_good_work_pass(rule: Rule, path: str, text: str) -> None:
    assert list(rule(snippet(text, PACKAGE + path))) == []


def test_imports_go_down_only() -> None:
    """The layers contract of pyproject.toml, kept by import-linter."""
    done = _lint_imports("--config", str(ROOT / "pyproject.toml"), folder=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("path", "text", "kept"),
    [
        ("mail/service.py", "import leasebox.leases.service", True),
        ("leases/service.py", "import leasebox.mail.service", False),
        ("infra/db.py", "import leasebox.identity", False),
        ("mail/service.py", "import leasebox.webhooks", False),
        ("webhooks/jobs.py", "import leasebox.live", False),
        ("identity/service.py", "def f():\n    import leasebox.wiring", False),
        ("novelty.py", "", False),
    ],
)
def test_the_layers_contract_bites(tmp_path: Path, path: str, text: str, *, kept: bool) -> None:
    """A small leasebox under the same contract: upward and sideways imports and unplaced modules break it."""
    contract = (ROOT / "pyproject.toml").read_text().partition("[tool.importlinter]")
    (tmp_path / "pyproject.toml").write_text("".join(contract[1:]))
    for name in ("values", "infra", "identity", "leases", "mail", "webhooks", "live"):
        for file in ("__init__.py", "service.py"):
            (tmp_path / "leasebox" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "leasebox" / name / file).touch()
    (tmp_path / "leasebox/__init__.py").touch()
    (tmp_path / "leasebox/wiring.py").touch()
    (tmp_path / "leasebox" / path).write_text(text)
    done = _lint_imports("--config", "pyproject.toml", folder=tmp_path)
    assert (done.returncode == 0) is kept, done.stdout


def test_every_slice_has_its_layer() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    placed = {word.strip(" ()") for layer in layers for word in layer.split("|")}
    assert {module.slice for module in modules()} - {"__init__"} <= placed


def _lint_imports(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, "--no-cache", "--no-logo", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
