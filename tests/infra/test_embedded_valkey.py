"""Valkey as we start it: behind a password, off the network, never evicting, nothing on disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from leasebox.infra import confine, embedded_valkey
from leasebox.infra.embedded import EngineFault, Engines


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    engines = Engines(tmp_path_factory.mktemp("valkey") / "home", wanted=("valkey",))
    yield engines.start().redis_url or ""
    engines.stop()


@pytest.fixture
def redis(url: str) -> Iterator["Redis"]:
    with Redis.from_url(url, decode_responses=True) as client:
        yield client


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("port", "0"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory", str(128 * 1024 * 1024)),
        ("save", ""),
        ("appendonly", "no"),
        ("unixsocketperm", "700"),
    ],
)
def test_it_runs_as_meant(redis: Redis, setting: str, value: str) -> None:
    assert redis.config_get(setting) == {setting: value}


@pytest.mark.parametrize("password", ["", "?password=wrong"])
def test_nobody_gets_in_without_the_password(url: str, password: str) -> None:
    with Redis.from_url(url.partition("?")[0] + password) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def test_the_password_stays_over_restarts(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        engines = Engines(tmp_path / "home", wanted=("valkey",))
        seen.append((engines.start().redis_url or "").partition("?")[2])
        engines.stop()
    assert seen[0] == seen[1]
    assert "password=" in seen[0]


def test_a_binary_that_its_user_cannot_reach_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("root is absent: a normal user runs the engines as itself")
    source = embedded_valkey.packaged() or embedded_valkey.installed()
    assert source
    tmp_path.chmod(0o700)
    hidden = tmp_path / "valkey-server"
    hidden.write_bytes(source.read_bytes())
    hidden.chmod(0o755)
    assert not confine.reachable(hidden)
    monkeypatch.setattr(embedded_valkey, "packaged", lambda: hidden)
    engines = Engines(tmp_path / "home", wanted=("valkey",))
    with Redis.from_url(engines.start().redis_url or "") as client:
        assert client.ping()
    engines.stop()


def test_the_systems_own_server_serves_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if embedded_valkey.installed() is None:
        pytest.skip("a Valkey or Redis of the system is absent")
    monkeypatch.setattr(embedded_valkey, "packaged", lambda: None)
    engines = Engines(tmp_path / "home", wanted=("valkey",))
    with Redis.from_url(engines.start().redis_url or "", decode_responses=True) as client:
        assert client.set("a", "b")
        assert client.getdel("a") == "b"
    engines.stop()


def test_no_binary_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_valkey, "packaged", lambda: None)
    monkeypatch.setattr(embedded_valkey, "installed", lambda: None)
    with pytest.raises(EngineFault, match="no Valkey found: install"):
        Engines(tmp_path / "home").start()


def test_a_server_that_dies_at_once_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_valkey, "_CONFIG", "nonsense {socket} {password}\n")
    with pytest.raises(EngineFault, match="valkey does not start: "):
        Engines(tmp_path / "home", wanted=("valkey",)).start()
