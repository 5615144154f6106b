"""Which database an operator's command works on, and what it says where it cannot."""

from pathlib import Path

import pytest

from leasebox import config
from leasebox.cli.database import on_database
from leasebox.config import Settings
from leasebox.infra import migrate
from leasebox.infra.db import Database
from leasebox.infra.embedded import Engines, EngineUrls
from tests.conftest import database_named
from tests.kit import SECRET


async def name_of(database: Database) -> str:
    found: str = await database.read(lambda tx: tx.value("SELECT current_database()"))
    return found


def on(home: Path, url: str | None) -> Settings:
    given = {"DATABASE_URL": url, "LEASEBOX_SECRET": SECRET} if url else {}
    return config.load({"LEASEBOX_HOME": str(home), **given})


def test_the_given_one_is_worked_on(engines: EngineUrls, template: str, tmp_path: Path) -> None:
    assert engines.database_url is not None
    assert on_database(on(tmp_path, database_named(engines.database_url, template)), name_of) == template


def test_one_that_is_not_there_or_lacks_migrations_is_refused(
    engines: EngineUrls,
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert engines.database_url is not None
    with pytest.raises(SystemExit) as refused:
        on_database(on(tmp_path, database_named(engines.database_url, "nowhere")), name_of)
    assert refused.value.code == 2
    assert "nowhere" in capsys.readouterr().err
    monkeypatch.setattr(migrate, "revisions", lambda: ["9999"])
    with pytest.raises(SystemExit):
        on_database(on(tmp_path, database_named(engines.database_url, template)), name_of)
    assert capsys.readouterr().err == "leasebox: the database lacks the migrations 9999: run `leasebox migrate`\n"


def test_the_homes_own_engine_is_used_while_it_runs_and_started_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "revisions", list)
    home = tmp_path / "home"
    running = Engines(home)
    running.start()
    try:
        assert on_database(on(home, None), name_of) == "leasebox"
    finally:
        running.stop()
    assert on_database(on(home, None), name_of) == "leasebox"
    assert not (home / "run").exists(), "stopped again"
