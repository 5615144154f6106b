"""A person's machine for the agent's commands: an empty configuration directory and a leasebox to talk to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from click.testing import CliRunner, Result

from tests.client.fake_server import FakeServer, serving


class Home:
    """Runs commands there. `server`: the leasebox that LEASEBOX_URL names."""

    def __init__(self, folder: Path, server: FakeServer) -> None:
        self.folder = folder
        self.server = server

    def run(self, command: click.Command, *args: str, typed: str | None = None, **environ: str) -> Result:
        env: dict[str, str | None] = {
            "XDG_CONFIG_HOME": str(self.folder),
            "LEASEBOX_URL": self.server.url,
            "LEASEBOX_TOKEN": None,
            "LEASEBOX_KEY_FILE": None,
            **environ,
        }
        return CliRunner(env=env).invoke(command, args, input=typed)

    def kept(self, name: str) -> Path:
        """A file that the commands keep."""
        return self.folder / "leasebox" / name


@contextmanager
def home(tmp_path: Path) -> Iterator[Home]:
    """A new machine."""
    with serving() as server:
        yield Home(tmp_path, server)


def succeeded(result: Result) -> Result:
    """The result of a command that must have ended with status 0."""
    assert result.exit_code == 0, (result.output, result.exception)
    return result
