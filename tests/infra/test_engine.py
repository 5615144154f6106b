"""What the engines share: logs that stay small, a short directory for sockets that leaves no trace."""

import os
import tempfile
from pathlib import Path

import pytest

from leasebox.infra import confine, engine
from leasebox.infra.engine import SOCKET_PATH_BYTES, EngineFault, EngineLog, Nest


@pytest.fixture
def log(tmp_path: Path) -> EngineLog:
    return EngineLog(tmp_path / "log" / "engine.log")


def write(log: EngineLog, text: str) -> None:
    handle = log.open()
    os.write(handle, text.encode())
    os.close(handle)


def test_a_log_appends_over_restarts_and_is_ours_alone(log: EngineLog) -> None:
    write(log, "one\n")
    write(log, "two\n")
    assert log.path.read_text() == "one\ntwo\n"
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_a_log_that_grew_is_put_aside_while_its_engine_goes_on(log: EngineLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOG_BYTES", 10)
    handle = log.open()
    os.write(handle, b"0123456789")
    log.trim()
    assert log.path.stat().st_size == 10
    os.write(handle, b"x")
    log.trim()
    os.write(handle, b"fresh")
    os.close(handle)
    assert log.path.read_text() == "fresh"
    assert log.path.with_suffix(".log.1").read_text() == "0123456789x"


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("", "it wrote nothing"),
        ("LOG:  one\nLOG:  two\n", "LOG:  two"),
        ("LOG:  one\nFATAL:  no room\nLOG:  bye\n", "FATAL:  no room"),
        ("\xff" + "x" * 9000 + "\nlast\n", "last"),
    ],
)
def test_the_last_word_of_a_log(log: EngineLog, text: str, last: str) -> None:
    write(log, text)
    assert log.last() == last


def test_a_log_that_never_was() -> None:
    absent = EngineLog(Path("/nowhere/engine.log"))
    absent.trim()
    assert absent.last() == "it wrote nothing"


def test_a_nest_is_short_private_and_linked_from_the_home(tmp_path: Path) -> None:
    owner = confine.engine_owner()
    nest = Nest(tmp_path, owner)
    assert len(str(nest.sockets / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_BYTES
    assert (tmp_path / "run").resolve() == nest.sockets.resolve()
    state = nest.sockets.stat()
    assert (state.st_mode & 0o777, state.st_uid) == (0o700, owner.uid if owner else os.geteuid())
    nest.close()
    assert not nest.path.exists()
    assert not (tmp_path / "run").is_symlink()


def test_a_killed_predecessors_nest_is_cleared_away(tmp_path: Path) -> None:
    old = Nest(tmp_path, None)
    new = Nest(tmp_path, None)
    assert not old.path.exists()
    assert new.sockets.is_dir()
    new.close()


def test_dead_nests_of_other_homes_are_cleared_away_and_living_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(engine, "SOCKET_PATH_BYTES", 4096)
    for name in ("living", "dead", "new"):
        (tmp_path / f"home-{name}").mkdir()
    living = Nest(tmp_path / "home-living", None)
    names = ("leasebox-dead0000", "leasebox-young000", "leasebox-other000", "unrelated-0000000")
    for name in names:
        (tmp_path / name / ("else" if "other" in name else "sock")).mkdir(parents=True)
    for path in (living.path, *(tmp_path / name for name in names if "young" not in name)):
        os.utime(path, (1, 1))
    new = Nest(tmp_path / "home-new", None)
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith("home-")}
    assert left == {living.path.name, new.path.name, *names[1:]}
    living.close()
    new.close()


def test_what_is_not_a_nest_is_never_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious" / "sock"
    precious.mkdir(parents=True)
    (tmp_path / "run").symlink_to(precious)
    Nest(tmp_path, None).close()
    assert precious.is_dir()


def test_a_deep_temporary_directory_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    nest = Nest(tmp_path, None)
    assert deep not in nest.path.parents
    nest.close()


def test_the_users_runtime_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        nest = Nest(tmp_path, None)
        assert nest.path.parent == Path(runtime)
        nest.close()


def test_nowhere_to_go_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SOCKET_PATH_BYTES", 5)
    with pytest.raises(EngineFault, match="set TMPDIR"):
        Nest(tmp_path, None)
