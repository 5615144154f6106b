"""The agent's credential on this machine: which server, which token, and signing in again when it ends."""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import msgspec

from leasebox.cli.agent_output import encode
from leasebox.cli.agent_wallet import ask_password, load_key
from leasebox.client import Client, ClientError, Purse, Session
from leasebox.client.model import decode
from leasebox.client.purse import ORDINARY
from leasebox.values.clock import Clock, SystemClock
from leasebox.values.secret import Secret

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
_MARGIN = timedelta(seconds=60)
_MARKS_KEPT = 200


class NotSignedIn(ClientError):
    """This machine has no credential for the server."""

    error = "not_signed_in"


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A session on disk; the file is its owner's alone."""

    access_token: Secret
    expires_at: datetime
    agent_id: str
    tenant_id: str
    wallet_address: str
    key_file: str


class Shelf(msgspec.Struct, frozen=True):
    """Small JSON files in one directory, each read whole and replaced whole."""

    folder: Path

    def sessions(self) -> dict[str, Saved]:
        """The saved session of each server's URL."""
        return _read(self.folder / "session.json", dict[str, Saved])

    def keep(self, url: str, session: Session, key_file: Path, at: datetime) -> None:
        """Save a session (0600). Raises OSError."""
        saved = Saved(
            access_token=session.access_token,
            expires_at=at + timedelta(seconds=session.expires_in),
            agent_id=session.agent_id,
            tenant_id=session.tenant_id,
            wallet_address=session.wallet_address,
            key_file=str(key_file),
        )
        with self._locked():
            _write(self.folder / "session.json", {**self.sessions(), url: saved})

    def forget(self, url: str) -> None:
        """Drop a server's session. Raises OSError."""
        with self._locked():
            left = {other: saved for other, saved in self.sessions().items() if other != url}
            _write(self.folder / "session.json", left)

    def mark(self, mailbox_id: str) -> str | None:
        """The message that `wait` gave last for a mailbox."""
        return _read(self.folder / "waited.json", dict[str, str]).get(mailbox_id)

    def set_mark(self, mailbox_id: str, message_id: str) -> None:
        """Remember it, among the latest 200. Raises OSError."""
        with self._locked():
            marks = _read(self.folder / "waited.json", dict[str, str])
            marks.pop(mailbox_id, None)
            newest = [*marks.items(), (mailbox_id, message_id)][-_MARKS_KEPT:]
            _write(self.folder / "waited.json", dict(newest))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def server_url(environ: Mapping[str, str] | None = None) -> str:
    """The server's URL from LEASEBOX_URL. Raises click.UsageError for text that is none."""
    url = (os.environ if environ is None else environ).get("LEASEBOX_URL", "").strip() or DEFAULT_URL
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        good = good and not ("@" in parts.netloc or parts.query or parts.fragment)
    except ValueError:
        good = False
    if not good:
        raise click.UsageError("LEASEBOX_URL is no URL such as https://leasebox.example or http://127.0.0.1:8080.")
    return url.rstrip("/")


def shelf(environ: Mapping[str, str] | None = None) -> Shelf:
    """Where this user's sessions lie: `$XDG_CONFIG_HOME/leasebox`, by default `~/.config/leasebox`."""
    base = (os.environ if environ is None else environ).get("XDG_CONFIG_HOME", "")
    return Shelf((Path(base) if base else Path.home() / ".config") / "leasebox")


def wallet_file() -> Path:
    """Where a generated key lies."""
    return shelf().folder / "wallet.key"


def open_client(clock: Clock | None = None, purse: Purse | None = None) -> Client:
    """A client with this machine's credential: LEASEBOX_TOKEN, else the saved session, renewed when it has ended.

    purse: what it may spend by itself, if not what clients ordinarily may. Raises NotSignedIn, UnusableKey, and what
    signing in raises.
    """
    url, clock = server_url(), clock or SystemClock()
    if token := os.environ.get("LEASEBOX_TOKEN", "").strip():
        return Client(url, token, purse=purse or ORDINARY)
    saved = shelf().sessions().get(url)
    named = os.environ.get("LEASEBOX_KEY_FILE", "").strip()
    if not named and saved is None:
        raise NotSignedIn(f"There is no session for {url}.", fix="Run `leasebox login --generate`.")
    key_file = absolute(named) if named or saved is None else Path(saved.key_file)
    usable = saved is not None and saved.key_file == str(key_file) and saved.expires_at > clock.now() + _MARGIN
    client = Client(
        url,
        saved.access_token.reveal() if saved and usable else None,
        on_expiry=lambda: _renew(client, url, key_file, clock),
        purse=purse or ORDINARY,
    )
    if not usable:
        _renew(client, url, key_file, clock)
    return client


def sign_in(
    client: Client, url: str, key_file: Path, chain_id: int | None, clock: Clock, password: Callable[[], str]
) -> Session:
    """Sign in with the key in a file and save the session. Raises UnusableKey, OSError, and what the client raises."""
    session = client.sign_in(load_key(key_file, password), chain_id)
    shelf().keep(url, session, key_file, clock.now())
    return session


def absolute(path: str) -> Path:
    """A path that stays the same from another directory."""
    return Path(path).expanduser().absolute()


def _renew(client: Client, url: str, key_file: Path, clock: Clock) -> None:
    # A session that cannot be saved still serves this command.
    with suppress(OSError):
        sign_in(client, url, key_file, None, clock, ask_password)


def _read(path: Path, kind: type[dict[str, T]]) -> dict[str, T]:
    """The file's contents; empty where there is none or where it is not ours."""
    try:
        return decode(path.read_bytes(), kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _write(path: Path, value: Any) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(encode(value), indent=2) + b"\n")
    fresh.replace(path)
