"""What the embedded engines have in common: faults, bounded logs, the directory of their sockets."""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from leasebox.infra.confine import Owner

# sun_path of unix(7) takes 108 bytes with its final zero.
SOCKET_PATH_BYTES = 107
LOG_BYTES = 4 * 1024 * 1024
_TAIL_BYTES = 4096
_PREFIX = "leasebox-"
# A younger one may belong to a launcher that is just about to lock it, or to engines that are still closing down.
_DEAD_S = 60.0


class EngineFault(Exception):
    """An embedded engine cannot run; the message is one line for the operator."""


class Engine(Protocol):
    """One embedded server. Each verb returns at once."""

    name: str
    log: "EngineLog"

    @property
    def farewell(self) -> tuple[tuple[signal.Signals, float], ...]:
        """How to stop it: a signal and the seconds that it is given, then the next."""

    def clear(self) -> bool:
        """Whether nothing of an earlier run is in the way; makes it go away step by step."""

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the server. Raises EngineFault."""

    def ready(self, process: "subprocess.Popen[bytes]") -> bool:
        """Whether this very process answers."""


class EngineLog:
    """An engine's own output in a file of at most LOG_BYTES, with one predecessor (`.1`)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> int:
        """A descriptor that appends to it, for the engine to inherit."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def trim(self) -> None:
        """Move what was written aside when it is too much. The engine goes on appending to the same, now empty file."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.path, self.path.with_suffix(".log.1"))
                os.truncate(self.path, 0)

    def last(self) -> str:
        """Its last line that names a fault, else its last line."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
            faults = [line for line in lines if "FATAL" in line or "Fatal" in line or "rror:" in line]
            return (faults or [line for line in lines if line] or ["it wrote nothing"])[-1]
        return "it wrote nothing"


class Nest:
    """A short, fresh directory for sockets (the home's path may be too long for one) and, where needed, binaries.

    Locked while we live, so that systemd-tmpfiles leaves it alone (tmpfiles.d(5)) and the next launcher, of whatever
    home, can tell that it is nobody's any more.
    """

    def __init__(self, home: Path, owner: Owner | None) -> None:
        self._link = home / "run"
        self._forget()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_roomy(owner)))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        _clear_dead(self.path)
        self.sockets = self.path / "sock"
        self.sockets.mkdir(mode=0o700)
        if owner is not None:
            self.path.chmod(0o711)
            os.chown(self.sockets, owner.uid, owner.gid)
        # Swapped in by a rename, so that a reader never finds it missing or half made.
        fresh = self._link.with_name(f".run-{secrets.token_hex(4)}")
        fresh.symlink_to(self.sockets)
        fresh.rename(self._link)

    def close(self) -> None:
        """Remove it."""
        self._forget()
        os.close(self._lock)

    def _forget(self) -> None:
        # Also what a killed predecessor left behind. rmtree follows no link.
        with contextlib.suppress(OSError):
            old = self._link.readlink().parent
            if old.name.startswith(_PREFIX) and old.lstat().st_uid == os.geteuid():
                shutil.rmtree(old, ignore_errors=True)
            self._link.unlink()


def _clear_dead(ours: Path) -> None:
    # A killed launcher cannot remove its nest, and its home may never be started again.
    for path in ours.parent.glob(f"{_PREFIX}????????"):
        with contextlib.suppress(OSError):
            state = path.lstat()
            old = ours.stat().st_mtime - state.st_mtime > _DEAD_S
            if old and state.st_uid == os.geteuid() and (path / "sock").is_dir() and _unlocked(path):
                shutil.rmtree(path, ignore_errors=True)


def _unlocked(directory: Path) -> bool:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _roomy(owner: Owner | None) -> str:
    candidates = [tempfile.gettempdir(), "/tmp", "/var/tmp", "/run"]  # noqa: S108 mkdtemp makes a private one in it
    if owner is None and (own := os.environ.get("XDG_RUNTIME_DIR")):
        candidates.insert(0, own)
    for candidate in candidates:
        longest = f"{candidate}/{_PREFIX}12345678/sock/.s.PGSQL.5432.lock"
        with contextlib.suppress(OSError):
            passable = owner is None or _open_to_all(Path(candidate))
            if len(os.fsencode(longest)) <= SOCKET_PATH_BYTES and os.access(candidate, os.W_OK) and passable:
                return candidate
    raise EngineFault("no directory for the engines' sockets: set TMPDIR to a short path that can be written")


def _open_to_all(directory: Path) -> bool:
    # The engines' own user must get to its sockets, and may have to run binaries from there.
    path = directory.resolve()
    passable = all(above.stat().st_mode & stat.S_IXOTH for above in (path, *path.parents))
    return passable and not os.statvfs(path).f_flag & os.ST_NOEXEC
