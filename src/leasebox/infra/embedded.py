"""Real PostgreSQL and Valkey under our own launcher: one home, one launcher, nothing left behind when it ends.

Start and tend the engines from the main thread: the kernel ties their lives to the thread that starts them.
"""

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from leasebox.infra import confine, embedded_postgres, embedded_valkey
from leasebox.infra.embedded_postgres import Postgres
from leasebox.infra.embedded_valkey import Valkey
from leasebox.infra.engine import Engine, EngineFault, Nest

__all__ = ["ALL", "EngineFault", "EngineUrls", "Engines", "attach"]

ALL = ("postgres", "valkey")
# Crash recovery replays at most max_wal_size; a slow disk may need a while for it.
_START_S = 180.0
_STEP_S = 0.005
_BACKOFF_S = (0.2, 5.0)
_TRIM_EVERY_S = 30.0


class EngineUrls(NamedTuple):
    """How to reach the engines; None for one that does not run. Both hold passwords: keep them out of argv and logs."""

    database_url: str | None
    redis_url: str | None


class Engines:
    """The engines of one home, which only one launcher at a time may hold.

    home: absolute path, made (0700) where missing. wanted: which of ALL to run. programs: directory of PostgreSQL's
    binaries instead of the packaged or the system's ones.
    """

    def __init__(self, home: Path, *, wanted: Sequence[str] = ALL, programs: Path | None = None) -> None:
        self._home = home
        self._wanted = wanted
        self._programs = programs
        self._open = contextlib.ExitStack()
        self._running: list[_Watched] = []
        self._nest: Nest | None = None
        self._trim_at = 0.0

    def claim(self) -> None:
        """Take the home, so that no other launcher can; `start` does it too. Raises EngineFault."""
        if self._nest is None:
            if sys.platform != "linux":
                raise EngineFault("the embedded engines need Linux: set DATABASE_URL and REDIS_URL")
            with self._undone():
                self._claim()

    def start(self) -> EngineUrls:
        """Start what is wanted and wait until it answers. Raises EngineFault, with nothing left running."""
        self.claim()
        with self._undone():
            return self._start()

    def tend(self) -> list[str]:
        """Start again what fell, cap the logs; returns at once. Call it every few tenths of a second.

        Gives a line for everything that happened.
        """
        if time.monotonic() >= self._trim_at:
            self._trim_at = time.monotonic() + _TRIM_EVERY_S
            for watched in self._running:
                watched.engine.log.trim()
        return [line for watched in self._running for line in watched.tend()]

    def stop(self) -> None:
        """Stop them, PostgreSQL by a fast shutdown, and let go of the home. Harmless when nothing runs."""
        for watched in self._running:
            watched.ask()
        for watched in self._running:
            watched.bury()
        self._running.clear()
        self._open.close()
        self._nest = None

    def scratch(self) -> Path:
        """A fresh directory of this run, ours alone, gone after `stop`. Only while the home is claimed."""
        assert self._nest is not None
        directory = self._nest.path / "scratch"
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def pids(self) -> dict[str, int]:
        """The process of each engine, by name."""
        return {watched.engine.name: watched.process.pid for watched in self._running if watched.process}

    @contextlib.contextmanager
    def _undone(self) -> Iterator[None]:
        """Whatever goes wrong in the block, nothing of it is left."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def _claim(self) -> None:
        _make(self._home)
        self._open.enter_context(_only_launcher(self._home))
        self._nest = self._open.enter_context(contextlib.closing(Nest(self._home, confine.engine_owner())))

    def _start(self) -> EngineUrls:
        assert self._nest is not None
        owner, nest = confine.engine_owner(), self._nest
        # Valkey goes first: it comes up while PostgreSQL is still being founded.
        valkey = Valkey(self._home, nest, owner) if "valkey" in self._wanted else None
        if valkey:
            self._running.append(_Watched(valkey))
            self.tend()
        postgres = Postgres(self._home, nest, self._programs, owner) if "postgres" in self._wanted else None
        if postgres:
            self._running.append(_Watched(postgres))
        self._await_all()
        return EngineUrls(postgres.url() if postgres else None, valkey.url() if valkey else None)

    def _await_all(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            self.tend()
            late = [watched for watched in self._running if not watched.check()]
            if not late:
                return
            for watched in late:
                if watched.fell or time.monotonic() > deadline:
                    raise EngineFault(f"{watched.engine.name} does not start: {watched.engine.log.last()}")
            time.sleep(_STEP_S)


class _Watched:
    """One engine and its present process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.process: subprocess.Popen[bytes] | None = None
        self.fell = 0
        self._ready = False
        self._not_before = 0.0

    def check(self) -> bool:
        if self.process and self.process.poll() is None and not self._ready:
            self._ready = self.engine.ready(self.process)
            self.fell = 0 if self._ready else self.fell
        return self._ready

    def tend(self) -> list[str]:
        lines = []
        if self.process and self.process.poll() is not None:
            lines.append(f"{self.engine.name} ended with status {self.process.returncode}: {self.engine.log.last()}")
            self._fall()
        if self.process is None and time.monotonic() >= self._not_before and self.engine.clear():
            lines += self._launch()
        elif self.fell:
            self.check()
        return lines

    def _launch(self) -> list[str]:
        try:
            self.process = self.engine.launch()
        except OSError as fault:
            self._fall()
            return [f"{self.engine.name} cannot be started: {fault}"]
        return [f"{self.engine.name} started again"] if self.fell else []

    def _fall(self) -> None:
        first, longest = _BACKOFF_S
        self._not_before = time.monotonic() + min(longest, first * 2**self.fell)
        self.process, self._ready, self.fell = None, False, self.fell + 1

    def ask(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.engine.farewell[0][0])

    def bury(self) -> None:
        for wanted, patience_s in self.engine.farewell:
            if self.process is None or self.process.poll() is not None:
                return
            self.process.send_signal(wanted)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)


def attach(home: Path) -> EngineUrls | None:
    """How another command reaches the engines that a launcher runs on this home; None when none does."""
    sockets = home / "run"
    if not sockets.is_dir():
        return None
    with contextlib.suppress(BlockingIOError, FileNotFoundError), (home / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    postgres, valkey = home / "postgres", home / "valkey" / "password"
    return EngineUrls(
        embedded_postgres.url(postgres, sockets) if (sockets / ".s.PGSQL.5432").exists() else None,
        embedded_valkey.url(valkey.read_text(), sockets) if (sockets / "valkey").exists() else None,
    )


def _make(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = home.stat()
    except OSError as fault:
        raise EngineFault(f"cannot make the home {home}: {fault.strerror}") from None
    # Whoever may write here could put their own database or master key in the place of ours.
    if state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EngineFault(
            f"others may write to {home}: set LEASEBOX_HOME to a directory in it, such as {home}/leasebox"
        )


@contextlib.contextmanager
def _only_launcher(home: Path) -> Iterator[None]:
    handle = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(handle, 20).decode().strip() or "unknown"
            raise EngineFault(
                f"{home} is in use by the leasebox with pid {pid}: stop it, or set LEASEBOX_HOME"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)
