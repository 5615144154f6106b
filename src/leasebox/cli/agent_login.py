"""`leasebox login` and `leasebox logout`."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from leasebox.cli.agent_output import AgentCommand, answer, facts, note
from leasebox.cli.agent_session import absolute, open_client, server_url, shelf, sign_in, wallet_file
from leasebox.cli.agent_wallet import UnusableKey, ask_password, is_exposed, make_key
from leasebox.cli.places import shown
from leasebox.client import ApiError, Client, Session
from leasebox.values.clock import SystemClock


@click.command(cls=AgentCommand)
@click.option(
    "--key-file",
    envvar="LEASEBOX_KEY_FILE",
    metavar="FILE",
    help="The wallet's key: 64 hexadecimal digits, or a keystore (JSON).",
)
@click.option("--generate", is_flag=True, help="Make a wallet (at --key-file, or your own place) unless it is there.")
@click.option("--password-file", metavar="FILE", help="Where the keystore's password stands; else it is asked for.")
@click.option("--chain-id", type=click.IntRange(1, 2**53), help="EIP-155 chain to sign for; else the server's.")
def login(key_file: str | None, generate: bool, password_file: str | None, chain_id: int | None) -> None:
    """Sign in with a wallet and keep the session.

    The other commands sign in again by themselves when the session ends. The private key is never printed or sent.
    """
    url = server_url()
    path = _chosen(key_file, "generate" if generate else "given")
    if path.exists() and is_exposed(path):
        note(f"leasebox: others on this machine can read {path}; run: chmod 600 {path}")
    with Client(url) as client:
        try:
            session = sign_in(client, url, path, chain_id, SystemClock(), _password(password_file))
        except OSError as fault:
            raise UnusableKey(
                f"The session cannot be saved in {shelf().folder}: {fault.strerror}.",
                fix="Set XDG_CONFIG_HOME to a directory that can be written.",
            ) from None
    told = {
        "url": url,
        "wallet_address": session.wallet_address,
        "agent_id": session.agent_id,
        "tenant_id": session.tenant_id,
        "did": session.did,
        "expires_in": session.expires_in,
        "key_file": str(path),
    }
    answer(told, lambda console: _draw(console, url, session, path))


@click.command(cls=AgentCommand)
def logout() -> None:
    """End the session here and on the server; the wallet stays."""
    url = server_url()
    known = url in shelf().sessions()
    if known:
        with open_client() as client, suppress(ApiError):
            client.sign_out()
        shelf().forget(url)
    said = f"Signed out of {url}." if known else f"There was no session for {url}."
    answer({"url": url, "signed_out": known}, lambda console: console.print(said))


def _chosen(key_file: str | None, choice: Literal["given", "generate"]) -> Path:
    """The key file to use; a wallet is made only where that was asked for, and never over another one."""
    path = absolute(key_file) if key_file else wallet_file()
    if choice == "given":
        if key_file is None and not path.exists():
            raise click.UsageError("No wallet yet: use --key-file FILE, or --generate to make one.")
        return path
    if not path.exists():
        make_key(path)
        note(f"leasebox: made a wallet; its key is in {shown(path)}. Whoever has that file is you.")
    return path


def _password(file: str | None) -> Callable[[], str]:
    if file is None:
        return ask_password

    def from_file() -> str:
        try:
            return Path(file).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise UnusableKey(f"Cannot read the password in {file}.", fix="Name a readable text file.") from None

    return from_file


def _draw(console: Console, url: str, session: Session, path: Path) -> None:
    rows = [
        ("signed in to", url),
        ("wallet", session.wallet_address),
        ("agent", session.agent_id),
        ("key", shown(path)),
        ("next", "leasebox lease"),
    ]
    console.print(facts(rows))
