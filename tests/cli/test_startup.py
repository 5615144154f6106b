"""What the operator's commands share: ports settled once, engines only where nothing else is named."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasebox.cli.startup import LISTENING, engines_of, load, with_ports
from leasebox.infra import confine
from leasebox.infra.embedded import Engines


@pytest.fixture
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_fault_is_a_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load({"LEASEBOX_HOME": str(tmp_path), "LEASEBOX_WORKERS": "0"})
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("leasebox: LEASEBOX_WORKERS: expected")


def test_every_role_hears_the_same_free_port(tmp_path: Path) -> None:
    free = dict.fromkeys(("LEASEBOX_HTTP", "LEASEBOX_SMTP", "LEASEBOX_SUBMISSION"), "127.0.0.1:0")
    environ = {"LEASEBOX_HOME": str(tmp_path), **free}
    settled, settings = with_ports(environ, load(environ), LISTENING)
    assert settings.http.port
    assert settings.smtp.port
    assert settings.public_url == f"http://{settings.http}"
    assert load(settled).smtp == settings.smtp
    assert environ["LEASEBOX_HTTP"] == "127.0.0.1:0"


def test_only_the_asked_ports_are_looked_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = {"LEASEBOX_HOME": str(tmp_path), "LEASEBOX_HTTP": address}
        _, settings = with_ports(environ, load(environ), {})
        assert str(settings.http) == address
        with pytest.raises(SystemExit):
            with_ports(environ, settings, LISTENING)


def test_named_servers_replace_the_embedded_ones(tmp_path: Path, signals: None) -> None:
    environ = {"LEASEBOX_HOME": str(tmp_path / "home"), "REDIS_URL": "redis://h/1"}
    with engines_of(load(environ)) as (engines, database_url, redis_url):
        assert list(engines.pids()) == ["postgres"]
        assert database_url.startswith("postgresql://leasebox:")
        assert redis_url == "redis://h/1"
    assert engines.pids() == {}
    assert not (tmp_path / "home" / "valkey").exists()


def test_while_the_engines_are_not_there_yet_the_home_is(tmp_path: Path, signals: None) -> None:
    settings = load({"LEASEBOX_HOME": str(tmp_path / "home"), "REDIS_URL": "redis://h/1"})
    seen: list[tuple[dict[str, int], Path]] = []

    def look(engines: Engines) -> None:
        seen.append((engines.pids(), engines.scratch()))
        with pytest.raises(SystemExit), engines_of(settings):
            raise AssertionError("the home is held twice")

    with engines_of(settings, meanwhile=look) as (engines, _, _):
        assert seen == [({}, engines.scratch())]
        assert engines.scratch().is_dir()
    assert not seen[0][1].exists()


def test_with_both_named_only_the_home_is_held(tmp_path: Path, signals: None) -> None:
    url = "postgresql://u:p@h/d"
    environ = {"LEASEBOX_HOME": str(tmp_path / "home"), "REDIS_URL": "redis://h", "DATABASE_URL": url}
    settings = load(environ | {"LEASEBOX_SECRET": "k" * 32})
    with engines_of(settings) as (engines, database_url, _):
        assert (engines.pids(), database_url) == ({}, url)
        with pytest.raises(SystemExit), engines_of(settings):
            raise AssertionError("the home is held twice")
    assert confine.engine_owner() is None or not (tmp_path / "home" / "postgres").exists()
