"""Every fault that an agent can have is found and told with what to do."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leasebox.cli.doctor import doctor, examine
from leasebox.infra import reach
from leasebox.infra.embedded import EngineUrls
from leasebox.values.clock import SystemClock
from tests.cli.agent_home import Home, home
from tests.client.fake_server import RUNTIME, Answer


class Fast:
    """A clock that is ten minutes ahead."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(minutes=10)


@contextmanager
def greeter(line: bytes) -> Iterator[int]:
    """A port that greets whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(line)
                if line:
                    connection.recv(64)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def with_smtp(machine: Home, port: int, host: str = "127.0.0.1") -> None:
    told = RUNTIME | {"smtp": {"host": host, "port": port, "security": "starttls"}}
    machine.server.script["GET", "/v2/meta/runtime"] = [Answer(200, json=told)]


def states(output: str) -> dict[str, str]:
    return {check["name"]: check["state"] for check in json.loads(output)["checks"]}


def test_operators_are_told_when_their_database_keeps_no_wall(
    machine: Home, engines: EngineUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"LEASEBOX_TOKEN": machine.server.issue(), "DATABASE_URL": engines.database_url or ""}
    assert states(machine.run(doctor, "--json", **where).stdout)["wall"] == "ok"
    monkeypatch.setattr(reach, "CLIMBS", "SELECT true")
    done = machine.run(doctor, "--json", **where)
    assert states(done.stdout)["wall"] == "fault"
    assert "NOSUPERUSER" in done.stdout
    assert (engines.database_url or "").partition("@")[0] not in done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_all_is_well(machine: Home, host: str) -> None:
    with greeter(b"220 box.example ESMTP\r\n") as port:
        with_smtp(machine, port, host)
        done = machine.run(doctor, "--json", LEASEBOX_TOKEN=machine.server.issue())
    assert done.exit_code == 0
    assert json.loads(done.stdout)["ok"] is True
    assert states(done.stdout) == dict.fromkeys(("server", "ready", "clock", "runtime", "session", "smtp"), "ok")


def test_people_read_a_line_for_each(machine: Home) -> None:
    with greeter(b"220 box.example ESMTP\r\n") as port:
        with_smtp(machine, port)
        done = machine.run(doctor)
    assert done.exit_code == 1
    assert "ok      smtp     127.0.0.1" in done.stdout
    assert "fault   session  There is no session" in done.stdout
    assert "Run `leasebox login --generate`." in done.stdout


def test_a_server_that_is_away_is_the_only_fault(machine: Home) -> None:
    done = machine.run(doctor, "--json", LEASEBOX_URL="http://127.0.0.1:1")
    assert done.exit_code == 1
    found = states(done.stdout)
    assert found.pop("server") == "fault"
    assert set(found.values()) == {"skipped"}
    assert "leasebox up" in done.stdout


@pytest.mark.parametrize(
    ("path", "answer", "check"),
    [
        ("/healthz", Answer(404, content=b"nginx"), "server"),
        ("/readyz", Answer(503, json={"error": "unavailable"}), "ready"),
        ("/v2/meta/runtime", Answer(200, content=b"<html>"), "runtime"),
    ],
)
def test_a_server_that_is_ill_is_told(machine: Home, path: str, answer: Answer, check: str) -> None:
    machine.server.script["GET", path] = [answer]
    done = machine.run(doctor, "--json", LEASEBOX_TOKEN=machine.server.issue())
    assert done.exit_code == 1
    assert states(done.stdout)[check] == "fault"


def test_a_token_that_is_refused_is_told(machine: Home) -> None:
    assert states(machine.run(doctor, "--json", LEASEBOX_TOKEN="stale").stdout)["session"] == "fault"


@pytest.mark.parametrize("line", [b"554 no\r\n", b"SSH-2.0-x\r\n", b""])
def test_a_port_that_is_no_mail_server_is_told(machine: Home, line: bytes) -> None:
    with greeter(line) as port:
        with_smtp(machine, port)
        done = machine.run(doctor, "--json", LEASEBOX_TOKEN=machine.server.issue())
    assert states(done.stdout)["smtp"] == "fault"


def test_a_mail_port_that_is_shut_is_told(machine: Home) -> None:
    with_smtp(machine, 1)
    assert states(machine.run(doctor, "--json", LEASEBOX_TOKEN=machine.server.issue()).stdout)["smtp"] == "fault"


def test_a_wrong_clock_is_told(machine: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = {each.name: each for each in examine(machine.server.url, Fast())}
    assert found["clock"].state == "fault"
    assert "ahead of the server" in found["clock"].detail
    assert {each.name: each for each in examine(machine.server.url, SystemClock())}["clock"].state == "ok"
