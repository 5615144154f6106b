"""Haraka (Node), installed by npm into the cache, with a plugin that accepts any recipient and discards the mail."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers import place
from tests.bench.peers.place import Absent, Peer

NAME = "Haraka, discarding"
_HOME = place.CACHE / "haraka"
_PROGRAM = _HOME / "node_modules" / "Haraka"
_WISH = {"private": True, "dependencies": {"Haraka": "^3"}}
# Registries that are mirrored late lack the newest releases of what Haraka stands on: then these will do.
_OLDER = {"encoding-japanese": "2.4.0", "libqp": "2.1.1", "libmime": "5.3.7", "libbase64": "1.3.0"}
_DISCARD = """
exports.register = function () {
  this.register_hook('mail', 'yes'); this.register_hook('rcpt', 'yes'); this.register_hook('queue', 'yes');
};
exports.yes = function (next) { next(OK); };
"""


@contextmanager
def serving() -> Iterator[Peer]:
    """Raises Absent."""
    node = place.program("node", "nodejs")
    _install()
    with place.folder() as folder:
        port = place.free_port()
        config = folder / "config"
        (folder / "plugins").mkdir()
        config.mkdir()
        shutil.copy(_PROGRAM / "config" / "connection.ini", config)
        (folder / "plugins" / "discard.js").write_text(_DISCARD)
        (config / "plugins").write_text("discard\n")
        (config / "smtp.ini").write_text(f"listen=127.0.0.1:{port}\nnodes=0\n")
        (config / "loglevel").write_text("ERROR\n")
        (config / "host_list").write_text("inbox.example\n")
        (config / "me").write_text("mx.inbox.example\n")
        argv = [node, str(_PROGRAM / "bin" / "haraka"), "-c", str(folder)]
        with place.serving(argv, port, folder / "log", cwd=folder) as peer:
            yield peer


def version() -> str:
    """Raises Absent."""
    try:
        found: str = json.loads((_PROGRAM / "package.json").read_text())["version"]
    except OSError:
        raise Absent("not installed") from None
    return found


def _install() -> None:
    if (_PROGRAM / "package.json").exists():
        return
    npm = place.program("npm", "npm")
    _HOME.mkdir(parents=True, exist_ok=True)
    for wish in (_WISH, {**_WISH, "overrides": _OLDER}):
        shutil.rmtree(_HOME / "node_modules", ignore_errors=True)
        (_HOME / "package-lock.json").unlink(missing_ok=True)
        (_HOME / "package.json").write_text(json.dumps(wish))
        try:
            place.run([npm, "install", "--no-audit", "--no-fund", "--omit=optional"], Path(_HOME), 180)
        except Absent as fault:
            why = fault
        else:
            return
    raise why
