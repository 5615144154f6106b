"""Signing in and out on this machine."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account

from leasebox.cli.agent_login import login, logout
from tests.cli.agent_home import Home, home, succeeded
from tests.client.fake_server import problem


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def test_a_wallet_is_made_and_signs_in(machine: Home) -> None:
    done = succeeded(machine.run(login, "--generate"))
    key = machine.kept("wallet.key").read_text().strip()
    session = json.loads(machine.kept("session.json").read_text())[machine.server.url]
    assert Account.from_key(key).address in done.stdout
    assert session["access_token"] in machine.server.tokens
    assert session["key_file"] == str(machine.kept("wallet.key"))
    assert key not in done.output
    assert session["access_token"] not in done.output
    for path in (machine.kept("wallet.key"), machine.kept("session.json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.kept("").stat().st_mode) == 0o700


def test_a_wallet_is_made_once(machine: Home) -> None:
    succeeded(machine.run(login, "--generate"))
    before = machine.kept("wallet.key").read_text()
    succeeded(machine.run(login, "--generate"))
    succeeded(machine.run(login))
    assert machine.kept("wallet.key").read_text() == before


def test_nothing_is_made_unasked(machine: Home) -> None:
    done = machine.run(login)
    assert done.exit_code == 2
    assert "--generate" in done.stderr
    assert not machine.kept("wallet.key").exists()


@pytest.mark.parametrize("prefix", ["", "0x"])
def test_a_bare_key_signs_in(machine: Home, prefix: str) -> None:
    key, path = Account.create(), machine.folder / "key"
    path.write_text(f"{prefix}{key.key.hex()}\n")
    path.chmod(0o600)
    done = succeeded(machine.run(login, "--json", LEASEBOX_KEY_FILE=str(path)))
    assert json.loads(done.stdout)["wallet_address"] == key.address
    assert done.stderr == ""


def test_an_exposed_key_is_told(machine: Home) -> None:
    path = machine.folder / "key"
    path.write_text(Account.create().key.hex())
    path.chmod(0o644)
    assert f"chmod 600 {path}" in succeeded(machine.run(login, "--key-file", str(path))).stderr


def test_a_key_can_be_made_at_a_chosen_place(machine: Home) -> None:
    path = machine.folder / "deep/key"
    succeeded(machine.run(login, "--generate", "--key-file", str(path)))
    assert len(path.read_text().strip()) == 64


def test_a_keystore_needs_its_password(machine: Home) -> None:
    key = Account.create()
    store, password = machine.folder / "keystore.json", machine.folder / "password"
    store.write_text(json.dumps(Account.encrypt(key.key, "correct horse", kdf="pbkdf2", iterations=2)))
    store.chmod(0o600)
    password.write_text("correct horse\n")
    done = machine.run(login, "--key-file", str(store), "--password-file", str(password), "--json")
    assert json.loads(succeeded(done).stdout)["wallet_address"] == key.address
    password.write_text("wrong")
    done = machine.run(login, "--key-file", str(store), "--password-file", str(password))
    assert done.exit_code == 1
    assert "not right" in done.stderr
    done = machine.run(login, "--key-file", str(store), "--password-file", str(machine.folder / "nowhere"))
    assert done.exit_code == 1
    assert "Cannot read the password" in done.stderr
    done = machine.run(login, "--key-file", str(store))
    assert (done.exit_code, "--password-file" in done.stderr) == (1, True)


def test_another_servers_message_is_not_signed(machine: Home) -> None:
    machine.server.domain = "bank.example"
    done = machine.run(login, "--generate", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stderr)["error"] == "unsafe_challenge"
    assert "POST /v2/auth/siwe/verify" not in machine.server.paths()


def test_a_refusal_is_told_with_what_to_do(machine: Home) -> None:
    machine.server.script["POST", "/v2/auth/siwe/challenge"] = [problem(422, "unprocessable")]
    done = machine.run(login, "--generate", "--chain-id", "5")
    assert done.exit_code == 1
    assert "422 unprocessable: Told." in done.stderr
    assert "Mend it." in done.stderr
    assert "req_1" in done.stderr
    assert not machine.kept("session.json").exists()


def test_a_place_that_cannot_be_written_is_told(machine: Home) -> None:
    (machine.folder / "file").write_text("")
    done = machine.run(login, "--generate", XDG_CONFIG_HOME=str(machine.folder / "file"))
    assert done.exit_code == 1
    assert "XDG_CONFIG_HOME" in done.stderr


def test_logout_ends_the_session_everywhere(machine: Home) -> None:
    succeeded(machine.run(login, "--generate"))
    assert "Signed out" in succeeded(machine.run(logout)).stdout
    assert not machine.server.tokens
    assert json.loads(machine.kept("session.json").read_text()) == {}
    assert machine.kept("wallet.key").exists()
    assert json.loads(succeeded(machine.run(logout, "--json")).stdout)["signed_out"] is False
