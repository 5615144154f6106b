"""What peers need: a folder that outlives a run, a free port, and a way to say that a peer cannot be had."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leasebox-bench"
_PATIENCE_S = 30.0
_SYSTEM = f"{os.environ.get('PATH', '')}:/usr/sbin"


class Absent(Exception):
    """A peer that this machine does not have; its text says why."""


class Peer(NamedTuple):
    """A server that takes mail for any address. pids: its processes when it came up."""

    port: int
    pid: int


def program(name: str, package: str) -> str:
    """Where a program of the system stands. Raises Absent."""
    found = shutil.which(name, path=_SYSTEM)
    if found is None:
        raise Absent(f"no {name} (Debian's package {package})")
    return found


def run(argv: Sequence[str], cwd: Path, seconds: float) -> str:
    """What a program says. Raises Absent when it fails."""
    try:
        return subprocess.run(argv, cwd=cwd, timeout=seconds, check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError as fault:
        said = [line for line in fault.stderr.splitlines() if "error" in line.lower()] or fault.stderr.splitlines()
        raise Absent(f"{Path(argv[0]).name} failed: {said[1 if len(said) > 1 else 0] if said else ''}") from None
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Absent(f"{Path(argv[0]).name} failed: {type(fault).__name__}") from None


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def folder() -> Iterator[Path]:
    """A folder below /tmp that every user may enter, removed at the end."""
    place = Path(tempfile.mkdtemp(prefix="leasebox-peer-", dir="/tmp"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def serving(argv: Sequence[str], port: int, log: Path, **more: Any) -> Iterator[Peer]:
    """A server from its first answer on until the block ends. Raises Absent when it does not come up."""
    with log.open("w") as said:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, **more)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not _greets(port):
            if process.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise Absent(f"it does not come up: {' '.join(last)}")
            time.sleep(0.02)
        yield Peer(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as probe:
            return probe.recv(3) == b"220"
    except OSError:
        return False
