"""`leasebox audit`: what is told and with which status; heads, keys and rows that others can check without us."""

import asyncio
import base64
import csv
import hashlib
import io
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leasebox.audit.heads import Signer
from leasebox.cli.audit import audit
from leasebox.infra import migrate
from leasebox.infra.embedded import Engines, EngineUrls
from leasebox.values.keys import Purpose, derive
from leasebox.values.secret import Secret
from tests.audit.sealed import FACTS, ROW, STRANGE_KEY, Sealed, head_of, sealed_on
from tests.databases import database_named, drop, execute
from tests.kit import SECRET

OURS = derive(Secret(SECRET), Purpose.AUDIT_HEAD)
ROWS = 13
Work = Callable[[Sealed], Awaitable[object]]


class Stage:
    """A database of 13 sealed rows and one more, and the command on it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def do(self, work: Work) -> None:
        async def on_it() -> None:
            async with sealed_on(self.url) as sealed:
                await work(sealed)

        asyncio.run(on_it())

    def tamper(self, *statements: str) -> None:
        self.do(lambda sealed: sealed.tamper(*statements))

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(audit, arguments)

    def head(self, *arguments: str) -> str:
        result = self.run("head", *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def empty(engines: EngineUrls, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    assert engines.database_url is not None
    name = f"{template}_cli"
    asyncio.run(execute(engines.database_url, f"CREATE DATABASE {name} TEMPLATE {template}"))
    url = database_named(engines.database_url, name)
    environ = {"DATABASE_URL": url, "LEASEBOX_SECRET": SECRET, "LEASEBOX_HOME": str(tmp_path / "home")}
    for each, value in environ.items():
        monkeypatch.setenv(each, value)
    yield Stage(url)
    asyncio.run(drop(engines.database_url, name))


@pytest.fixture
def stage(empty: Stage) -> Stage:
    async def fill(sealed: Sealed) -> None:
        await sealed.write(5)
        await sealed.seal(OURS)
        await sealed.write(ROWS - 5)
        await sealed.seal(OURS)
        await sealed.write(1)

    empty.do(fill)
    return empty


def test_a_sound_log_is_told_with_figures(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "heads").write_text(stage.head())
    bare, held = stage.run("verify"), stage.run("verify", "--head", str(tmp_path / "heads"))
    root = base64.b64encode(head_of(stage.head()).root).decode()
    assert (bare.exit_code, held.exit_code, held.stderr) == (0, 0, "")
    first, second, third, last = held.stdout.splitlines()
    assert first.startswith(f"audit: 14 rows, 13 leaves, 2 heads, not sealed yet: 1; size 13, root {root}, sealed at")
    assert second.startswith("facts: 0 rows, 0 leaves, 0 heads, not sealed yet: 0; size 0")
    assert third.startswith("usage: 0 rows, 0 leaves, 0 heads, not sealed yet: 0; size 0")
    assert last == "nothing is wrong; all that 1 given head vouches for is there"
    assert "only against a head kept elsewhere" in bare.stdout


def test_a_wrong_row_is_named_with_status_1(stage: Stage) -> None:
    stage.tamper(f"UPDATE audit_rows SET outcome = 'denied' WHERE id = {ROW % 7}")
    result = stage.run("verify")
    assert result.exit_code == 1
    assert result.stderr.startswith("audit: row aud_")
    assert "(leaf 7) is not what was sealed" in result.stderr
    assert "nothing is wrong" not in result.output
    assert stage.run("verify", "--log", "facts").exit_code == 0


def test_a_wrong_head_is_named_without_a_row(stage: Stage) -> None:
    stage.tamper("DELETE FROM seal_heads WHERE number = 0")
    assert stage.run("verify").stderr == "audit: head 0 was deleted\n"


def test_a_consistent_rewrite_is_found_with_an_exported_head(stage: Stage, tmp_path: Path) -> None:
    exported = tmp_path / "heads"
    assert stage.run("head", "-o", str(exported)).exit_code == 0
    stage.tamper(f"UPDATE audit_rows SET outcome = 'denied' WHERE id = {ROW % 7}", "TRUNCATE seal_leaves, seal_heads")
    stage.do(lambda sealed: sealed.seal(OURS))
    assert stage.run("verify").exit_code == 0
    result = stage.run("verify", "--head", str(exported))
    assert result.exit_code == 1
    assert "the head that you gave of size 13" in result.stderr


def test_a_head_is_a_note_that_its_public_key_checks(stage: Stage) -> None:
    """RFC 8032 by another hand: the key from `audit key`, the bytes before the empty line, the signature after it."""
    note = stage.head("--log", "audit")
    key = stage.run("key", "--log", "audit").stdout.strip()
    text, _, signature = note.partition("\n\n")
    public = base64.b64decode(key.split("+", 2)[2])[1:]
    blob = base64.b64decode(signature.split()[2])
    Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], f"{text}\n".encode())
    assert text.splitlines()[1] == str(ROWS)
    assert stage.run("key").stdout.count("\n") == 3


def test_heads_of_all_logs_stand_in_one_file(stage: Stage, tmp_path: Path) -> None:
    async def fact(sealed: Sealed) -> None:
        await sealed.raw.execute(
            """INSERT INTO facts (id, tenant_id, type, payload, at)
               VALUES (gen_random_uuid(), gen_random_uuid(), 'message.received', '{}', now())"""
        )
        await sealed.seal(OURS, logs=[FACTS])

    stage.do(fact)
    heads = tmp_path / "heads"
    heads.write_text(stage.head())
    result = stage.run("verify", "--head", str(heads), "--head", str(heads))
    assert result.stdout.endswith("all that 4 given heads vouch for is there\n")


def test_before_the_first_seal_there_is_no_head(empty: Stage) -> None:
    result = empty.run("head")
    assert result.exit_code == 2
    assert "nothing is sealed yet" in result.stderr
    assert empty.run("verify").exit_code == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a file of signed heads"),
        ("hello\n", "not a file of signed heads"),
        ("x\n1\n\n— x AAAAAAAA\n", "malformed"),
        ("{head}junk\n", "not a file of signed heads"),
        ("{elsewhere}", "no log of ours"),
        ("{strange}", "unknown_key"),
        ("{forged}", "bad_signature"),
    ],
)
def test_a_head_that_cannot_be_trusted_is_refused(stage: Stage, tmp_path: Path, text: str, told: str) -> None:
    note = stage.head("--log", "audit")
    head = head_of(note)
    made = {
        "head": note,
        "elsewhere": Signer("elsewhere.test/x", OURS).sign(
            type(head)("elsewhere.test/x", 13, head.root, head.sealed_at)
        ),
        "strange": Signer(head.origin, STRANGE_KEY).sign(head),
        "forged": note.replace("sealed_at 20", "sealed_at 19"),
    }
    (tmp_path / "head").write_text(text.format(**made))
    result = stage.run("verify", "--head", str(tmp_path / "head"))
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_head_of_a_retired_key_counts_if_that_is_given(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "head").write_text(stage.head())
    retired = stage.run("key", "--log", "audit").stdout.strip()
    monkeypatch.setenv("LEASEBOX_SECRET", "another master secret of 32 or more characters")
    secret = Secret("another master secret of 32 or more characters")
    with monkeypatch.context() as changing:
        changing.setenv("LEASEBOX_SECRET_PREVIOUS", SECRET)
        assert stage.run("verify", "--head", str(tmp_path / "head")).exit_code == 0, "both are at hand"
    stage.do(lambda sealed: sealed.seal(derive(secret, Purpose.AUDIT_HEAD)))
    given = ("verify", "--head", str(tmp_path / "head"))
    assert stage.run(*given).exit_code == 2
    assert stage.run(*given, "--key", retired).exit_code == 0
    assert stage.run(*given, "--key", "x+y+z").exit_code == 2


@pytest.fixture
def heads(stage: Stage, tmp_path: Path) -> tuple[str, str, str]:
    """Files of two heads, of size 5 and 13, and of proofs between them."""
    old, new, proofs = (str(tmp_path / name) for name in ("old", "new", "proofs"))
    kept: list[str] = []

    async def first(sealed: Sealed) -> None:
        kept.append(await sealed.note(0))

    stage.do(first)
    Path(old).write_text(kept[0])
    assert stage.run("head", "-o", new).exit_code == 0
    made = stage.run("consistency", old, new, "-o", proofs)
    assert (made.exit_code, made.stdout) == (0, "")
    assert made.stderr == "audit: from size 5 to size 13 it was only added to\n"
    return old, new, proofs


def test_a_proof_is_checked_without_database_or_secret(
    stage: Stage, heads: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, proofs = heads
    told = json.loads(Path(proofs).read_text())
    assert (told["log"], told["from"], told["to"]) == ("audit", 5, 13)
    key = stage.run("key", "--log", "audit").stdout.strip()
    for name in ("DATABASE_URL", "LEASEBOX_SECRET", "LEASEBOX_HOME"):
        monkeypatch.setenv(name, "nothing that works")
    result = stage.run("consistency", old, new, "--proof", proofs, "--key", key)
    assert (result.exit_code, result.stdout) == (0, "audit: from size 5 to size 13 it was only added to\n")
    Path(proofs).write_text(json.dumps(told | {"path": told["path"][::-1]}))
    assert stage.run("consistency", old, new, "--proof", proofs, "--key", key).exit_code == 1
    for text in ("", "{}", "hello", json.dumps(told | {"to": 12}), json.dumps(told | {"path": ["x"]})):
        Path(proofs).write_text(text)
        assert stage.run("consistency", old, new, "--proof", proofs, "--key", key).exit_code == 2, text


def test_a_log_that_was_rewritten_extends_no_head_of_before(stage: Stage, heads: tuple[str, str, str]) -> None:
    old, new, _ = heads
    stage.tamper(f"UPDATE audit_rows SET outcome = 'denied' WHERE id = {ROW % 3}", "TRUNCATE seal_leaves, seal_heads")
    cut = stage.run("consistency", old, new)
    assert (cut.exit_code, cut.stdout) == (1, "")
    assert "has not grown from 5 to 13" in cut.stderr
    stage.do(lambda sealed: sealed.seal(OURS))
    assert stage.run("head", "-o", new).exit_code == 0
    result = stage.run("consistency", old, new)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "audit: size 14 does not begin with what size 5 was" in result.stderr


def test_heads_of_the_same_log_are_wanted_the_older_one_first(stage: Stage, heads: tuple[str, str, str]) -> None:
    old, new, _ = heads
    assert stage.run("consistency", new, old).exit_code == 2
    assert stage.run("consistency", old, new, "--log", "facts").exit_code == 2
    assert stage.run("consistency", old, old).exit_code == 0


def test_exported_lines_hash_to_the_head(stage: Stage) -> None:
    """With nothing but SHA-256, as anybody would do it (RFC 6962 §2.1)."""
    lines = stage.run("export").stdout_bytes.removesuffix(b"\n").split(b"\n")
    assert len(lines) == ROWS

    def root(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return hashlib.sha256(b"\x00" + leaves[0]).digest()
        split = 1 << ((len(leaves) - 1).bit_length() - 1)
        return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()

    assert root(lines) == head_of(stage.head()).root


def test_rows_are_exported_as_csv(stage: Stage, tmp_path: Path) -> None:
    assert stage.run("export", "--format", "csv", "-o", str(tmp_path / "rows.csv")).exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_bytes().decode(), newline="")))
    lines = [json.loads(line) for line in stage.run("export").stdout.splitlines()]
    assert [row["leaf"] for row in rows] == [str(leaf) for leaf in range(ROWS)]
    for row, line in zip(rows, lines, strict=True):
        assert json.loads(row["detail"]) == line["detail"]
        assert {name: row[name] for name in ("id", "at", "resource")} == {
            name: line[name] for name in ("id", "at", "resource")
        }


def test_an_empty_log_is_exported_as_nothing(empty: Stage) -> None:
    assert [empty.run("export", "--format", form).stdout for form in ("json", "csv")] == ["", ""]


def test_a_hole_is_told_with_status_1(stage: Stage) -> None:
    stage.tamper(f"DELETE FROM audit_rows WHERE id = {ROW % 3}")
    result = stage.run("export")
    assert result.exit_code == 1
    assert "are missing" in result.stderr


def test_a_database_that_does_not_answer_or_is_behind(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasebox.infra.migrate.revisions", lambda: ["9999"])
    assert stage.run("verify").exit_code == 2
    assert "lacks the migrations 9999" in stage.run("head").stderr
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:c4n4ry@127.0.0.1:1/d")
    result = stage.run("verify")
    assert result.exit_code == 2
    assert "c4n4ry" not in result.output


def test_it_finds_the_homes_own_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "LEASEBOX_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LEASEBOX_HOME", str(tmp_path / "home"))
    engines = Engines(tmp_path / "home", wanted=["postgres"])
    migrate.upgrade(engines.start().database_url or "")
    attached = CliRunner().invoke(audit, ["verify"])
    engines.stop()
    started = CliRunner().invoke(audit, ["verify"])
    assert (attached.exit_code, started.exit_code) == (0, 0)
    assert attached.stdout == started.stdout
