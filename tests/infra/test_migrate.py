"""Migrations: a chain of numbered files, applied once, forward only, each as a whole."""

import ast
import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from leasebox.infra import migrate
from leasebox.infra.embedded import EngineUrls
from leasebox.values.errors import Unavailable
from tests.databases import database_named

FILES = sorted(path for path in (migrate.folder() / "versions").glob("*.py"))


@pytest.fixture
async def empty(engines: EngineUrls) -> str:
    """A database without a table."""
    assert engines.database_url is not None
    name = f"empty_{uuid4().hex}"
    server = await asyncpg.connect(engines.database_url)
    await server.execute(f"CREATE DATABASE {name}")
    await server.close()
    return database_named(engines.database_url, name)


async def upgraded(url: str) -> list[str]:
    return await asyncio.to_thread(migrate.upgrade, url)


async def tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    return {row["tablename"] for row in rows}


def test_the_files_form_one_chain() -> None:
    script = ScriptDirectory(str(migrate.folder()))
    chain = [(each.revision, each.down_revision, Path(each.path).name[:4]) for each in script.walk_revisions()]
    numbers = migrate.revisions()
    assert numbers == [f"{place:04}" for place in range(1, len(FILES) + 1)]
    assert chain[::-1] == list(zip(numbers, [None, *numbers[:-1]], numbers, strict=True))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_there_is_no_way_back(path: Path) -> None:
    functions = {step.name for step in ast.walk(ast.parse(path.read_text())) if isinstance(step, ast.FunctionDef)}
    assert "upgrade" in functions
    assert "downgrade" not in functions


async def test_an_empty_database_is_brought_to_the_head_once(empty: str) -> None:
    assert await migrate.current(empty) is None
    assert await asyncio.to_thread(migrate.pending, empty) == migrate.revisions()
    assert await upgraded(empty) == migrate.revisions()
    assert await migrate.current(empty) == migrate.revisions()[-1]
    assert await asyncio.to_thread(migrate.pending, empty) == []
    assert await upgraded(empty) == []


async def test_two_migrators_at_once_do_it_once(empty: str) -> None:
    await asyncio.to_thread(race, empty)
    assert await migrate.current(empty) == migrate.revisions()[-1]


def race(empty: str) -> None:
    program = "import os; from leasebox.infra import migrate; migrate.upgrade(os.environ['URL'])"
    racers = [
        subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "URL": empty}, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [racer.communicate(timeout=60)[1].decode() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0], said


def copied(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations in another folder, used in place of ours."""
    shutil.copytree(migrate.folder(), place)
    monkeypatch.setattr(migrate, "folder", lambda: place)
    return place


async def test_a_migration_that_fails_leaves_nothing_of_itself(
    empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = migrate.revisions()[-1]
    number = f"{int(last) + 1:04}"
    folder = copied(tmp_path / "migrations", monkeypatch)
    (folder / "versions" / f"{number}_breaks.py").write_text(
        f"from alembic import op\nrevision = {number!r}\ndown_revision = {last!r}\n"
        "def upgrade():\n    op.execute('CREATE TABLE half_done (id int)')\n    op.execute('SELECT 1 / 0')\n"
    )
    with pytest.raises(Exception, match="division by zero"):
        await upgraded(empty)
    assert await migrate.current(empty) == last
    assert "half_done" not in await tables(empty)
    assert await asyncio.to_thread(migrate.pending, empty) == [number]


async def test_the_folders_name_may_hold_a_percent_sign(
    empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(tmp_path / "100% %(ours)s", monkeypatch)
    assert await upgraded(empty) == migrate.revisions()


@pytest.mark.parametrize("extra", ["sslmode=prefer", "application_name=leasebox"])
async def test_a_url_means_here_what_it_means_elsewhere(empty: str, extra: str) -> None:
    assert await upgraded(f"{empty}{'&' if '?' in empty else '?'}{extra}") == migrate.revisions()


async def test_nobody_there_is_503() -> None:
    with pytest.raises(Unavailable) as refused:
        await migrate.current("postgresql://u:c4n4ry@127.0.0.1:1/d")
    assert "c4n4ry" not in str(refused.value)
