"""Keys on this machine, and that no message repeats one."""

from pathlib import Path

import pytest
from eth_account import Account

from leasebox.cli.agent_wallet import UnusableKey, ask_password, is_exposed, load_key, make_key


def never() -> str:
    raise AssertionError("no password is needed")


def test_a_made_key_is_read_again(tmp_path: Path) -> None:
    made = make_key(tmp_path / "a/wallet.key")
    assert load_key(tmp_path / "a/wallet.key", never).address == made.address
    assert not is_exposed(tmp_path / "a/wallet.key")


def test_a_key_is_never_written_over_another(tmp_path: Path) -> None:
    path = tmp_path / "wallet.key"
    path.write_text("precious")
    with pytest.raises(UnusableKey):
        make_key(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"secret-words-of-mine",
        b"0x" + b"a" * 63,
        b"a" * 65,
        b"0" * 64,
        b"f" * 64,
        b"{",
        b"{}",
        b'{"version": 3, "crypto": 5}',
        b"\xff\xfe",
        b"{" * 100_000,
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(UnusableKey) as told:
        load_key(path, lambda: "password")
    assert len(content) < 4 or content.decode("latin-1") not in f"{told.value.message} {told.value.fix}"


def test_a_keystore_is_decrypted(tmp_path: Path) -> None:
    import json

    key = Account.create()
    path = tmp_path / "keystore.json"
    path.write_text(json.dumps(Account.encrypt(key.key, "pw", kdf="pbkdf2", iterations=2)))
    assert load_key(path, lambda: "pw").address == key.address


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnusableKey, match="cannot be used"):
        load_key(tmp_path / name, never)


def test_nobody_is_asked_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("pw\n"))
    with pytest.raises(UnusableKey, match="nobody can be asked"):
        ask_password()
