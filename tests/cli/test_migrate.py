"""`leasebox migrate`: on a given database, on the running embedded one, on one that it starts for the purpose."""

import asyncio
import subprocess
from pathlib import Path

import asyncpg
import pytest

from leasebox.infra import migrate
from leasebox.infra.embedded import Engines, EngineUrls
from leasebox.infra.embedded_postgres import installed, packaged
from tests.cli.stage import environment, leasebox
from tests.databases import database_named, drop, execute


def expected() -> str:
    return f"applied {', '.join(migrate.revisions())}\n" if migrate.revisions() else "nothing to apply\n"


def test_it_starts_the_homes_own_engine_for_it(tmp_path: Path) -> None:
    env = environment(tmp_path)
    first, second = leasebox(env, "migrate"), leasebox(env, "migrate")
    assert (first.returncode, first.stdout, first.stderr) == (0, expected(), "")
    assert (second.returncode, second.stdout, second.stderr) == (0, "nothing to apply\n", "")
    assert not (tmp_path / "home" / "run").exists()


def test_it_uses_the_engine_that_already_runs(tmp_path: Path) -> None:
    env = environment(tmp_path)
    engines = Engines(tmp_path / "home")
    url = engines.start().database_url or ""
    done = leasebox(env, "migrate")
    assert (done.returncode, done.stdout, done.stderr) == (0, expected(), "")
    given = leasebox(env | {"DATABASE_URL": url, "LEASEBOX_SECRET": "k" * 40}, "migrate")
    assert (given.returncode, given.stdout, given.stderr) == (0, "nothing to apply\n", "")
    engines.stop()


def test_after_a_restore_that_left_rights_out_it_withdraws_them_again(
    engines: EngineUrls, template: str, tmp_path: Path
) -> None:
    """As README has it: `--no-privileges`, since the role that restores may be another than the one that dumped."""
    server = engines.database_url or ""
    programs = packaged() or installed()
    assert programs is not None
    source, target = database_named(server, template), database_named(server, "restored")
    asyncio.run(drop(server, "restored"))
    asyncio.run(execute(server, "CREATE DATABASE restored"))
    dump = str(tmp_path / "dump")
    for argv in (
        ["pg_dump", "--enable-row-security", "-Fc", "-f", dump, source],
        ["pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "-d", target, dump],
    ):
        done = subprocess.run([programs / argv[0], *argv[1:]], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    asyncio.run(execute(target, "BEGIN; DELETE FROM payment_proofs; ROLLBACK"))
    given = {"DATABASE_URL": target, "LEASEBOX_SECRET": "k" * 40}
    assert leasebox(environment(tmp_path, **given), "migrate").stdout == "nothing to apply\n"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        asyncio.run(execute(target, "DELETE FROM payment_proofs"))
    again = ["--clean", "--if-exists", "--no-owner", "-d", target, dump]
    assert subprocess.run([programs / "pg_restore", *again], capture_output=True, check=False).stderr == b""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        asyncio.run(execute(target, "DELETE FROM payment_proofs"))
    asyncio.run(drop(server, "restored"))


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    dead = {"DATABASE_URL": "postgresql://u:c4n4ry@127.0.0.1:1/d", "LEASEBOX_SECRET": "k" * 40}
    done = leasebox(environment(tmp_path, **dead), "migrate")
    assert done.returncode == 2
    assert done.stderr.startswith("leasebox: DATABASE_URL: cannot use the database at 127.0.0.1:1")
    assert "c4n4ry" not in done.stderr


def test_under_up_it_leaves_the_first_line_to_it(tmp_path: Path) -> None:
    done = leasebox(environment(tmp_path, LEASEBOX_READY_FD="1"), "migrate")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
