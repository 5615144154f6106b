"""`leasebox up` as its operator meets it: one line when ready, one line for each refusal, nothing left behind."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.stage import environment, leasebox, line_of, started, words_of
from tests.infra.homes import alive, argv, eventually, offspring


def test_ready_is_one_line_once_every_role_answers(tmp_path: Path) -> None:
    env = environment(tmp_path)
    with started(env, "up") as process:
        first = line_of(process)
        assert first.startswith("leasebox ready ")
        words = words_of(first)
        assert list(words) == ["http", "smtp"]
        for address in words.values():
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        family = offspring(process.pid)
        roles = [argv(pid) for pid in family if " serve " in argv(pid)]
        assert sorted(role.split()[-1] for role in roles) == ["http", "parser", "smtp", "worker"]
        assert not [pid for pid in family if (tmp_path / "home" / "postgres" / "password").read_text() in argv(pid)]
        process.send_signal(signal.SIGTERM)
        # Not `communicate`: it passes over what the first line's read has buffered already.
        assert process.stdout is not None
        assert process.stderr is not None
        rest, errors = process.stdout.read(), process.stderr.read()
        process.wait(60)
    assert process.returncode == 0
    assert errors == ""
    assert "leasebox ready" not in rest
    assert f"http://{words['http']}/agents-guide" in rest
    assert f"LEASEBOX_URL=http://{words['http']} " in rest
    assert "leasebox login" in rest
    assert ("Runs as     root" in rest) is (os.geteuid() == 0)
    assert not [pid for pid in family if alive(pid)]
    assert not (tmp_path / "home" / "run").exists()


def test_the_master_key_is_made_once_and_kept(tmp_path: Path) -> None:
    env, seen = environment(tmp_path), []
    for _ in range(2):
        with started(env, "up") as process:
            assert line_of(process).startswith("leasebox ready")
            seen.append((tmp_path / "home" / "secret").read_text())
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert seen[0] == seen[1]
    assert len(seen[0]) > 32


def test_a_second_one_on_the_same_home_is_refused(tmp_path: Path) -> None:
    env = environment(tmp_path)
    with started(env, "up") as process:
        assert line_of(process).startswith("leasebox ready")
        second = leasebox(env, "up")
        assert second.returncode == 2
        assert second.stdout == ""
        holder = f"is in use by the leasebox with pid {process.pid}: stop it, or set LEASEBOX_HOME"
        assert second.stderr == f"leasebox: {tmp_path / 'home'} {holder}\n"
        assert process.poll() is None


def test_killed_it_leaves_nothing_and_starts_again(tmp_path: Path) -> None:
    env = environment(tmp_path)
    with started(env, "up") as process:
        assert line_of(process).startswith("leasebox ready")
        family = offspring(process.pid)
        process.kill()
    assert len(family) >= 7
    assert eventually(lambda: not [pid for pid in family if alive(pid)])
    with started(env, "up") as process:
        assert line_of(process).startswith("leasebox ready")


def test_a_fallen_role_comes_back_at_its_address(tmp_path: Path) -> None:
    with started(environment(tmp_path, LEASEBOX_LOG_FORMAT="json"), "up") as process:
        words = words_of(line_of(process))
        smtp = next(pid for pid in offspring(process.pid) if argv(pid).endswith("serve smtp "))
        os.kill(smtp, signal.SIGKILL)
        assert process.stderr
        assert '"event":"role smtp ended by SIGKILL; starting it again in 0.1 s"' in process.stderr.readline()
        assert eventually(lambda: answers(words["smtp"]))


def test_a_fallen_nursery_harms_no_role_and_the_next_role_comes_back_too(tmp_path: Path) -> None:
    with started(environment(tmp_path, LEASEBOX_LOG_FORMAT="json"), "up") as process:
        words = words_of(line_of(process))
        before = {argv(pid).split()[-1]: pid for pid in offspring(process.pid) if " serve " in argv(pid)}
        os.kill(next(pid for pid in offspring(process.pid) if "leasebox.cli.nursery" in argv(pid)), signal.SIGKILL)
        assert process.stderr
        assert '"event":"the nursery ended by SIGKILL; the roles go on"' in process.stderr.readline()
        assert all(alive(pid) for pid in before.values())
        os.kill(before["smtp"], signal.SIGKILL)
        assert eventually(lambda: not alive(before["smtp"]))
        assert eventually(lambda: answers(words["smtp"]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not [pid for pid in before.values() if alive(pid)]


def test_what_postgres_leaves_behind_is_reaped(tmp_path: Path) -> None:
    with started(environment(tmp_path, LEASEBOX_LOG_FORMAT="json"), "up") as process:
        assert line_of(process).startswith("leasebox ready")
        assert eventually(lambda: not [pid for pid in offspring(process.pid) if argv(pid).endswith(" migrate ")])
        postgres = next(pid for pid in offspring(process.pid) if "/postgres -D" in argv(pid))
        orphans = offspring(postgres)
        assert orphans
        os.kill(postgres, signal.SIGKILL)
        assert eventually(lambda: not [pid for pid in orphans if Path(f"/proc/{pid}").exists()])
        assert eventually(lambda: [pid for pid in offspring(process.pid) if "/postgres -D" in argv(pid)])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_ports_in_use_are_all_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as smtp:
        taken = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in (http, smtp)]
        done = leasebox(environment(tmp_path, LEASEBOX_HTTP=taken[0], LEASEBOX_SMTP=taken[1]), "up")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"leasebox: LEASEBOX_HTTP: {taken[0]} is in use by another program",
        f"leasebox: LEASEBOX_SMTP: {taken[1]} is in use by another program",
    ]
    assert not (tmp_path / "home").exists()


def test_bad_settings_are_all_named(tmp_path: Path) -> None:
    done = leasebox(environment(tmp_path, LEASEBOX_WORKERS="none", LEASEBOX_HTP="x"), "up")
    assert done.returncode == 2
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == ["LEASEBOX_HTP", "LEASEBOX_WORKERS"]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (
            {"DATABASE_URL": "postgresql://u:c4n4ry@127.0.0.1:1/d", "LEASEBOX_SECRET": "k" * 40},
            "DATABASE_URL: cannot use the database at 127.0.0.1:1",
        ),
        ({"REDIS_URL": "redis://:c4n4ry@127.0.0.1:1/0"}, "REDIS_URL: cannot use the server at 127.0.0.1:1"),
        ({"FAIL": "parser"}, "LEASEBOX_PRICES: parser cannot use it"),
        ({"LEASEBOX_HOME": "/proc/leasebox"}, "cannot make the home /proc/leasebox"),
    ],
)
def test_what_cannot_run_says_so_in_one_line(tmp_path: Path, more: dict[str, str], fault: str) -> None:
    done = leasebox(environment(tmp_path, **more), "up")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"leasebox: {fault}")
    assert "c4n4ry" not in done.stderr
