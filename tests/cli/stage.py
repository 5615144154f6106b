"""The `leasebox` command in a process of its own, with small roles in place of the real ones."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Python imports `sitecustomize` by itself, so `up` and all processes that it starts see these roles.
# FAIL names a role that refuses, BEHIND a migration that no database has.
ROLES = """
import os, sys, types

def run_role(role, settings, ready):
    import signal, socket, threading
    if os.environ.get("FAIL") == role:
        from leasebox.config import ConfigFaults
        raise ConfigFaults([f"LEASEBOX_PRICES: {role} cannot use it"])
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    address = getattr(settings, role, None)
    if address is None:
        ready("")
        done.wait()
        return
    with socket.create_server((address.host, address.port)):
        ready(f"{role}={address}")
        done.wait()

wiring = types.ModuleType("leasebox.wiring")
wiring.run_role = run_role
wiring.NEEDED = ()
sys.modules["leasebox.wiring"] = wiring

if "BEHIND" in os.environ:
    from leasebox.infra import migrate
    migrate.revisions = lambda: [os.environ["BEHIND"]]
"""


def environment(place: Path, **more: str) -> dict[str, str]:
    """Settings for a home below `place`, on free ports."""
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(ROLES)
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("LEASEBOX_", "DATABASE_", "REDIS_"))
    }
    ours = {
        "PYTHONPATH": str(place),
        "LEASEBOX_HOME": str(place / "home"),
        "LEASEBOX_HTTP": "127.0.0.1:0",
        "LEASEBOX_SMTP": "127.0.0.1:0",
        "LEASEBOX_SUBMISSION": "127.0.0.1:0",
    }
    return kept | ours | more


def leasebox(env: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end (at most a minute)."""
    argv = [sys.executable, "-P", "-m", "leasebox", *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def started(env: dict[str, str], *words: str) -> Iterator["subprocess.Popen[str]"]:
    """The command while it runs; killed in the end if it still does."""
    argv = [sys.executable, "-P", "-m", "leasebox", *words]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: "subprocess.Popen[str]") -> str:
    """Its next line on stdout."""
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


def words_of(line: str) -> dict[str, str]:
    """The `name=value` words of a line."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)
