"""`leasebox serve ROLE`: one role on servers that are there and up to date, else a refusal in one line."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasebox.infra.embedded import Engines
from tests.cli.stage import environment, leasebox, line_of, started


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    engines = Engines(tmp_path_factory.mktemp("serve") / "home")
    urls = engines.start()
    yield {
        "DATABASE_URL": urls.database_url or "",
        "REDIS_URL": urls.redis_url or "",
        "LEASEBOX_SECRET": "k" * 40,
    }
    engines.stop()


@pytest.fixture
def migrated(servers: dict[str, str], tmp_path: Path) -> dict[str, str]:
    env = environment(tmp_path, **servers)
    assert leasebox(env, "migrate").returncode == 0
    return env


@pytest.mark.parametrize(("role", "words"), [("smtp", " smtp=127.0.0.1:"), ("worker", "")])
def test_a_role_says_where_it_serves_and_drains(migrated: dict[str, str], role: str, words: str) -> None:
    with started(migrated, "serve", role) as process:
        assert line_of(process).startswith(f"leasebox serving {role}{words}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_it_needs_servers(tmp_path: Path) -> None:
    done = leasebox(environment(tmp_path), "serve", "worker")
    assert done.returncode == 2
    assert done.stderr == "leasebox: `leasebox serve` needs DATABASE_URL and REDIS_URL; `leasebox up` brings its own\n"


def test_servers_that_do_not_answer_are_both_named(tmp_path: Path) -> None:
    dead = {"DATABASE_URL": "postgresql://u:c4n4ry@127.0.0.1:1/d", "REDIS_URL": "redis://:c4n4ry@127.0.0.1:1"}
    done = leasebox(environment(tmp_path, **dead, LEASEBOX_SECRET="k" * 40), "serve", "worker")
    assert done.returncode == 2
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == ["DATABASE_URL", "REDIS_URL"]
    assert "c4n4ry" not in done.stderr


def test_it_never_migrates(migrated: dict[str, str]) -> None:
    done = leasebox(migrated | {"BEHIND": "9999"}, "serve", "worker")
    assert done.returncode == 2
    assert done.stderr == "leasebox: the database lacks the migrations 9999: run `leasebox migrate`\n"


def test_a_port_in_use(migrated: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = leasebox(migrated | {"LEASEBOX_SMTP": address}, "serve", "smtp")
    assert done.returncode == 2
    assert done.stderr == f"leasebox: LEASEBOX_SMTP: {address} is in use by another program\n"


def test_faults_of_the_role_itself(migrated: dict[str, str]) -> None:
    done = leasebox(migrated | {"FAIL": "worker"}, "serve", "worker")
    assert done.returncode == 2
    assert done.stderr == "leasebox: LEASEBOX_PRICES: worker cannot use it\n"


def test_an_unknown_role(tmp_path: Path) -> None:
    done = leasebox(environment(tmp_path), "serve", "everything")
    assert done.returncode == 2
    assert "'http', 'smtp', 'parser', 'worker'" in done.stderr
