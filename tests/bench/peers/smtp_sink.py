"""Postfix's smtp-sink: the floor, a server in C that reads mail and forgets it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.peers import place
from tests.bench.peers.place import Peer

NAME = "smtp-sink, forgetting"


@contextmanager
def serving() -> Iterator[Peer]:
    """Raises Absent."""
    argv = [place.program("smtp-sink", "postfix")]
    argv += ["-u", "nobody"] if os.geteuid() == 0 else []
    with place.folder() as folder:
        port = place.free_port()
        with place.serving([*argv, f"127.0.0.1:{port}", "256"], port, folder / "log") as peer:
            yield peer


def version() -> str:
    """Raises Absent."""
    from tests.bench.peers import postfix

    return postfix.version()
