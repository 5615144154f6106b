"""The engines of one home on real binaries: they start, last, fall, come back, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from leasebox.infra import confine
from leasebox.infra.embedded import EngineFault, Engines, EngineUrls, attach
from leasebox.infra.embedded_postgres import installed, packaged
from tests.infra.homes import ROOT, alive, argv, eventually, home_of, offspring, owners_of, python_for_anybody

# A launcher of its own, to be killed: tells its URLs, then waits.
LAUNCHER = """
import sys, time
from pathlib import Path
from leasebox.infra.embedded import EngineFault, Engines
try:
    urls = Engines(Path(sys.argv[1])).start()
except EngineFault as fault:
    print(fault, flush=True)
    sys.exit(2)
print(urls.database_url, flush=True)
time.sleep(600)
"""


def run_sql(url: str | None, sql: str) -> str:
    directory = packaged() or installed()
    assert directory
    assert url
    return subprocess.run(
        [directory / "psql", "-XAtqc", sql, url], capture_output=True, text=True, check=True
    ).stdout.strip()


def pings(url: str | None) -> bool:
    with Redis.from_url(url or "") as redis:
        return redis.ping() is True


@contextmanager
def launcher_on(home: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, str(home)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class Running:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.engines = Engines(home)
        self.urls = self.engines.start()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    it = Running(tmp_path_factory.mktemp("running") / "home")
    yield it
    it.engines.stop()


def test_both_answer_at_their_urls(running: Running) -> None:
    assert run_sql(running.urls.database_url, "SELECT 6 * 7") == "42"
    assert pings(running.urls.redis_url)


def test_a_home_can_be_claimed_before_and_again_after(tmp_path: Path) -> None:
    first, second = Engines(tmp_path / "home", wanted=["valkey"]), Engines(tmp_path / "home", wanted=["valkey"])
    first.claim()
    scratch = first.scratch()
    with pytest.raises(EngineFault, match=f"in use by the leasebox with pid {os.getpid()}"):
        second.start()
    assert first.pids() == {}
    assert pings(first.start().redis_url)
    assert first.scratch() == scratch
    first.stop()
    assert not scratch.exists()
    assert pings(second.start().redis_url)
    second.stop()


def test_nothing_listens_on_tcp_and_no_password_stands_on_a_command_line(running: Running) -> None:
    password = (running.home / "postgres" / "password").read_text()
    secret = (running.home / "valkey" / "password").read_text()
    family = offspring(os.getpid())
    inodes = {link for pid in family for link in sockets_of(pid)}
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    assert len(family) >= 3
    assert not [line for line in listening.splitlines()[1:] if line.split()[9:10] and line.split()[9] in inodes]
    assert not [pid for pid in family if password in argv(pid) or secret in argv(pid)]
    for log in (running.home / "log").iterdir():
        assert password not in log.read_text()
        assert secret not in log.read_text()


def sockets_of(pid: int) -> list[str]:
    links = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it, or one of its files, may have gone
        for entry in (Path("/proc") / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                links.append(os.readlink(entry))
    return [link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")]


def test_what_is_secret_is_ours_alone(running: Running) -> None:
    assert running.home.stat().st_mode & 0o777 == 0o700
    for name in ("postgres/password", "valkey/password", "lock", "log/postgres.log"):
        assert (running.home / name).stat().st_mode & 0o777 == 0o600, name
    for name in ("postgres", "postgres/data", "valkey", "run"):
        assert (running.home / name).stat().st_mode & 0o777 == 0o700, name


def test_no_engine_runs_as_root(running: Running) -> None:
    wanted = confine.ENGINE.uid if os.geteuid() == 0 else os.geteuid()
    pids = running.engines.pids()
    family = [*pids.values(), *offspring(pids["postgres"])]
    assert len(family) >= 3
    assert owners_of(family) == {wanted}


def test_another_command_attaches_to_the_running_engines(running: Running) -> None:
    urls = attach(running.home)
    assert urls is not None
    assert run_sql(urls.database_url, "SELECT 1") == "1"
    assert pings(urls.redis_url)


def test_a_second_launcher_is_refused_in_one_line_that_names_the_first(running: Running) -> None:
    with launcher_on(running.home) as second:
        said, _ = second.communicate(timeout=30)
    assert second.returncode == 2
    assert said.splitlines() == [
        f"{running.home} is in use by the leasebox with pid {os.getpid()}: stop it, or set LEASEBOX_HOME"
    ]
    assert run_sql(running.urls.database_url, "SELECT 1") == "1"


def test_a_killed_engine_comes_back_at_the_same_url_with_its_rows(running: Running) -> None:
    run_sql(running.urls.database_url, "CREATE TABLE kept AS SELECT 7 AS n")
    before = running.engines.pids()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    lines: list[str] = []

    def both_again() -> bool:
        lines.extend(running.engines.tend())
        return sum("started again" in line for line in lines) == 2

    assert eventually(both_again)
    assert eventually(lambda: answers(running.urls))
    assert run_sql(running.urls.database_url, "SELECT n FROM kept") == "7"
    assert set(running.engines.pids().values()).isdisjoint(before.values())


def answers(urls: EngineUrls) -> bool:
    try:
        return run_sql(urls.database_url, "SELECT true") == "t" and pings(urls.redis_url)
    except (subprocess.CalledProcessError, RedisError):
        return False


def test_stop_leaves_nothing_and_the_next_start_finds_the_rows(tmp_path: Path) -> None:
    home = tmp_path / "home"
    engines = Engines(home)
    urls = engines.start()
    run_sql(urls.database_url, "CREATE TABLE kept AS SELECT 11 AS n")
    pids, nest = engines.pids(), (home / "run").resolve()
    assert nest.is_dir()
    assert engines.scratch().is_dir()
    engines.stop()
    assert not [pid for pid in pids.values() if alive(pid)]
    assert not nest.parent.exists()
    assert attach(home) is None
    again = Engines(home)
    assert run_sql(again.start().database_url, "SELECT n FROM kept") == "11"
    again.stop()
    assert "was not properly shut down" not in (home / "log" / "postgres.log").read_text()


def test_a_killed_launcher_takes_its_engines_along_and_loses_no_row(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with launcher_on(home) as launcher:
        url = first_line(launcher)
        run_sql(url, "CREATE TABLE acknowledged AS SELECT generate_series(1, 1000) AS n")
        family = offspring(launcher.pid)
        nest = (home / "run").resolve().parent
    assert len(family) >= 3
    engines = Engines(home)
    assert run_sql(engines.start().database_url, "SELECT count(*) FROM acknowledged") == "1000"
    engines.stop()
    assert not [pid for pid in family if alive(pid)]
    assert not nest.exists()


def test_a_killed_launcher_leaves_no_process_even_if_nobody_starts_again(tmp_path: Path) -> None:
    with launcher_on(tmp_path / "home") as launcher:
        first_line(launcher)
        family = offspring(launcher.pid)
    assert len(family) >= 3
    assert eventually(lambda: not [pid for pid in family if alive(pid)])


def test_everything_killed_at_once_under_writes_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with launcher_on(home) as launcher:
        url = first_line(launcher)
        run_sql(url, "CREATE TABLE acknowledged (n int)")
        family = [*offspring(launcher.pid), launcher.pid]
        acknowledged = writes_until_killed(url, family)
    engines = Engines(home)
    rows = int(run_sql(engines.start().database_url, "SELECT count(*) FROM acknowledged"))
    engines.stop()
    assert acknowledged >= 100
    # The one that was under way when the server died may be there or not.
    assert acknowledged <= rows <= acknowledged + 1


def writes_until_killed(url: str, family: list[int]) -> int:
    statements = "INSERT INTO acknowledged VALUES (1);\n" * 1500
    with subprocess.Popen(
        [(packaged() or installed() or Path()) / "psql", "-XAt", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write(statements)
        writer.stdin.flush()
        seen = sum(writer.stdout.readline() == "INSERT 0 1\n" for _ in range(100))
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(BrokenPipeError):
            writer.stdin.close()
        return seen + writer.stdout.read().count("INSERT 0 1\n")


def test_a_stale_pid_that_is_now_anybodys_does_not_stop_us(tmp_path: Path) -> None:
    home = tmp_path / "home"
    engines = Engines(home, wanted=("postgres",))
    engines.start()
    engines.stop()
    owner = confine.engine_owner()
    with subprocess.Popen(["sleep", "60"], user=owner and owner.uid, group=owner and owner.gid) as stranger:
        record = home / "postgres" / "data" / "postmaster.pid"
        record.write_text(f"{stranger.pid}\n{home}\n1795169968\n5432\n/tmp\n\n 1 1\nready   \n")
        assert run_sql(engines.start().database_url, "SELECT 1") == "1"
        assert alive(stranger.pid)
        stranger.kill()
    engines.stop()


def test_half_a_founding_is_thrown_away(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".postgres-dead" / "data").mkdir(parents=True)
    home.chmod(0o700)
    engines = Engines(home, wanted=("postgres",))
    urls = engines.start()
    assert urls.redis_url is None
    assert run_sql(urls.database_url, "SELECT 1") == "1"
    engines.stop()
    assert not list(home.glob(".postgres-*"))


def test_only_what_is_wanted_runs(tmp_path: Path) -> None:
    engines = Engines(tmp_path / "home", wanted=("valkey",))
    urls = engines.start()
    assert urls.database_url is None
    assert list(engines.pids()) == ["valkey"]
    assert attach(tmp_path / "home") == urls._replace(redis_url=attached_redis(tmp_path / "home"))
    engines.stop()
    assert not (tmp_path / "home" / "postgres").exists()


def attached_redis(home: Path) -> str:
    return f"unix://{home / 'run'}/valkey?password={(home / 'valkey' / 'password').read_text()}&db=0"


def test_a_deep_home_is_no_problem_for_the_sockets(tmp_path: Path) -> None:
    home = tmp_path.joinpath(*["a-rather-long-directory-name-of-forty-char"] * 5)
    assert len(str(home)) > 200
    engines = Engines(home)
    urls = engines.start()
    assert run_sql(urls.database_url, "SELECT 1") == "1"
    assert pings(urls.redis_url)
    engines.stop()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_home_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(EngineFault, match=f"others may write to {tmp_path}: set LEASEBOX_HOME"):
        Engines(tmp_path).start()
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineFault, match="cannot make the home"):
        Engines(tmp_path / "file" / "home").start()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    engines = Engines(home)
    engines.start()
    engines.stop()
    (home / "postgres" / "data" / "global" / "pg_control").unlink()
    with pytest.raises(EngineFault, match=r"postgres does not start: .*pg_control"):
        engines.start()
    assert engines.pids() == {}
    assert attach(home) is None


def test_a_normal_user_runs_them_too() -> None:
    if os.geteuid() != 0:
        pytest.skip("root is absent: every other test here already runs as a normal user")
    python = python_for_anybody()
    paths = os.pathsep.join([str(ROOT / "src"), *(path for path in sys.path if path.endswith("site-packages"))])
    with home_of(1000) as home:
        with subprocess.Popen(
            [python, "-c", LAUNCHER, str(home / "box")],
            stdout=subprocess.PIPE,
            text=True,
            user=1000,
            group=1000,
            extra_groups=[],
            env={"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        ) as launcher:
            assert first_line(launcher).startswith("postgresql://")
            family = offspring(launcher.pid)
            owners = owners_of(family)
            launcher.kill()
        assert len(family) >= 3
        assert owners == {1000}
        assert eventually(lambda: not [pid for pid in family if alive(pid)])
