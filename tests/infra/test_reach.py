"""Servers of somebody else's: usable, or a line that says why not and shows no password."""

import socket
from collections.abc import Iterator

import pytest

from leasebox.infra import reach
from leasebox.infra.embedded import Engines, EngineUrls

CANARY = "c4n4ry"


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUrls]:
    engines = Engines(tmp_path_factory.mktemp("reach") / "home")
    yield engines.start()
    engines.stop()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_servers_that_answer(urls: EngineUrls) -> None:
    assert reach.database_fault(urls.database_url or "") is None
    assert reach.redis_fault(urls.redis_url or "") is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"postgresql://u:{CANARY}@127.0.0.1:1/d", "DATABASE_URL: cannot use the database at 127.0.0.1:1"),
        (
            f"postgresql://u:{CANARY}@no-such-host.invalid/d",
            "DATABASE_URL: cannot use the database at no-such-host.invalid",
        ),
        (f"postgresql://u:{CANARY}@/d?host=/nowhere", "DATABASE_URL: cannot use the database at /d"),
    ],
)
def test_no_database_there(url: str, fault: str) -> None:
    said = reach.database_fault(url) or ""
    assert said.startswith(fault)
    assert CANARY not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("url", [f"redis://:{CANARY}@127.0.0.1:1/0", f"unix:///nowhere?password={CANARY}"])
def test_no_redis_there(url: str) -> None:
    said = reach.redis_fault(url) or ""
    assert said.startswith("REDIS_URL: cannot use the server at ")
    assert CANARY not in said
    assert len(said.splitlines()) == 1


def test_a_wrong_password_is_said_without_it(urls: EngineUrls) -> None:
    wrong = (urls.database_url or "").replace("//leasebox:", f"//leasebox:{CANARY}")
    said = reach.database_fault(wrong) or ""
    assert "password authentication failed" in said
    assert CANARY not in said
    said = reach.redis_fault((urls.redis_url or "").replace("password=", f"password={CANARY}")) or ""
    assert "REDIS_URL: cannot use" in said
    assert CANARY not in said


def test_silence_is_not_waited_for(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_PATIENCE_S", 0.2)
    assert "does not answer within" in (reach.database_fault(f"postgresql://u:p@127.0.0.1:{silent}/d") or "")
    assert "REDIS_URL: cannot use" in (reach.redis_fault(f"redis://127.0.0.1:{silent}/0") or "")


def test_too_old_a_database(urls: EngineUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_OLDEST", 99)
    assert "leasebox needs 99 or newer" in (reach.database_fault(urls.database_url or "") or "")
