"""A whole leasebox as its users have it: `leasebox up` in processes of its own, on engines of its own."""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

READY_S = 60


class Instance(NamedTuple):
    """Where it answers."""

    url: str
    smtp_host: str
    smtp_port: int
    home: Path
    process: "subprocess.Popen[str]"


@contextmanager
def up(home: Path, **settings: str) -> Iterator[Instance]:
    """`leasebox up` on free ports, until the block ends; then SIGTERM, and it must drain within 30 s."""
    environ = {
        name: text for name, text in os.environ.items() if not name.startswith(("LEASEBOX_", "DATABASE_", "REDIS_"))
    }
    environ |= {
        "LEASEBOX_HOME": str(home),
        "LEASEBOX_HTTP": "127.0.0.1:0",
        "LEASEBOX_SMTP": "127.0.0.1:0",
        "LEASEBOX_SUBMISSION": "127.0.0.1:0",
        "LEASEBOX_DNS": "off",
        "LEASEBOX_LOG_FORMAT": "json",
        **settings,
    }
    log = (home.parent / f"{home.name}.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "leasebox", "up"], env=environ, stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        yield _ready(process, home, log)
    finally:
        try:
            if process.poll() is None:  # else the test has ended it in its own way
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) in (0, 2)
        finally:
            process.kill()
            process.stdout.close()  # type: ignore[union-attr]
            log.close()


def _ready(process: "subprocess.Popen[str]", home: Path, log: object) -> Instance:
    assert process.stdout is not None
    heard, _, _ = select.select([process.stdout], [], [], READY_S)
    assert heard, f"it says nothing for {READY_S} s\n{getattr(log, 'name', '')}"
    line = process.stdout.readline()
    match = re.match(r"leasebox ready http=(\S+) smtp=(\S+):(\d+) submission=", line)
    assert match, f"{line!r}\n{getattr(log, 'name', '')}"
    return Instance(f"http://{match[1]}", match[2], int(match[3]), home, process)
