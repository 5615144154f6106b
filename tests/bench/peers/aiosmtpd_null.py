"""aiosmtpd, the usual SMTP server in Python, installed by pip into the cache, with a handler that forgets all mail."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions

from tests.bench.peers import place
from tests.bench.peers.place import Absent, Peer

NAME = "aiosmtpd, forgetting"
_HOME = place.CACHE / "aiosmtpd"
_SERVER = """
import asyncio, sys, uvloop
from aiosmtpd.smtp import SMTP

class Sink:
    async def handle_DATA(self, server, session, envelope):
        return '250 OK'

async def main():
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: SMTP(Sink(), hostname='mx.inbox.example'), '127.0.0.1', int(sys.argv[1]))
    await asyncio.Event().wait()

uvloop.run(main())
"""


@contextmanager
def serving() -> Iterator[Peer]:
    """Raises Absent."""
    _install()
    with place.folder() as folder:
        port = place.free_port()
        env = {**os.environ, "PYTHONPATH": str(_HOME)}
        with place.serving([sys.executable, "-c", _SERVER, str(port)], port, folder / "log", env=env) as peer:
            yield peer


def version() -> str:
    """Raises Absent."""
    for each in distributions(path=[str(_HOME)]):
        if each.name == "aiosmtpd":
            return each.version
    raise Absent("not installed")


def _install() -> None:
    if (_HOME / "aiosmtpd").exists():
        return
    _HOME.mkdir(parents=True, exist_ok=True)
    place.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(_HOME), "aiosmtpd"], _HOME, 120)
