"""One role of leasebox as a process of its own, on the database of a test."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit import SECRET


class Role:
    """A role that serves. words: what it said about its addresses."""

    def __init__(self, process: "subprocess.Popen[str]", words: dict[str, str]) -> None:
        self.process = process
        self.words = words

    def address(self, name: str) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.words[name].rpartition(":")
        return host, int(port)

    def stop(self) -> tuple[int, str]:
        """SIGTERM; its exit status and what it logged."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@contextmanager
def serving(role: str, database_url: str, redis_url: str, home: Path, **settings: str) -> Iterator[Role]:
    """`leasebox serve ROLE` until the block ends."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("LEASEBOX_")}
    environ |= {
        "LEASEBOX_HOME": str(home),
        "LEASEBOX_HTTP": "127.0.0.1:0",
        "LEASEBOX_SMTP": "127.0.0.1:0",
        "LEASEBOX_SUBMISSION": "127.0.0.1:0",
        "LEASEBOX_SECRET": SECRET,
        "LEASEBOX_DNS": "off",
        # All tests come from one address, and so would draw from one bucket.
        "LEASEBOX_SMTP_RATE": "0",
        "LEASEBOX_LOG_FORMAT": "json",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        **settings,
    }
    argv = [sys.executable, "-P", "-m", "leasebox", "serve", role]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(f"leasebox serving {role}"), line
            yield Role(process, dict(word.split("=", 1) for word in line.split() if "=" in word))
        finally:
            process.kill()
