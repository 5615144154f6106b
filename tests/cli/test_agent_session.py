"""Which credential a command uses, and when it signs in again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from eth_account import Account

from leasebox.cli.agent_session import DEFAULT_URL, NotSignedIn, Shelf, open_client, server_url, shelf
from leasebox.client import Session
from leasebox.values.secret import Secret
from tests.client.fake_server import FakeServer, serving

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


class Stopped:
    """A clock that stands."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with serving() as made:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.setenv("LEASEBOX_URL", made.url)
        monkeypatch.delenv("LEASEBOX_TOKEN", raising=False)
        monkeypatch.delenv("LEASEBOX_KEY_FILE", raising=False)
        yield made


def key_file(folder: Path, name: str = "key") -> Path:
    path = folder / name
    path.write_text(Account.create().key.hex())
    return path


def session(token: str, seconds: int = 3600) -> Session:
    return Session(
        access_token=Secret(token),
        expires_in=seconds,
        agent_id="agt_01",
        tenant_id="ten_01",
        did="did",
        wallet_address="0x1",
        chain_id=1,
    )


def test_a_given_token_goes_first(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf().keep(server.url, session("other"), key_file(tmp_path), NOW)
    monkeypatch.setenv("LEASEBOX_TOKEN", server.issue())
    with open_client(Stopped()) as client:
        assert client.me().tenant_id == "ten_01"
    assert server.paths() == ["GET /v2/auth/me"]


def test_a_saved_session_is_used_while_it_lasts(server: FakeServer, tmp_path: Path) -> None:
    shelf().keep(server.url, session(server.issue()), key_file(tmp_path), NOW)
    with open_client(Stopped(NOW + timedelta(minutes=58))) as client:
        client.me()
    assert server.paths() == ["GET /v2/auth/me"]


def test_an_ended_session_is_renewed_and_kept(server: FakeServer, tmp_path: Path) -> None:
    shelf().keep(server.url, session(server.issue()), key_file(tmp_path), NOW)
    later = Stopped(NOW + timedelta(minutes=59, seconds=30))
    for _ in range(2):
        with open_client(later) as client:
            client.me()
    assert server.paths().count("POST /v2/auth/siwe/verify") == 1
    assert shelf().sessions()[server.url].expires_at == later.at + timedelta(hours=1)


def test_a_session_that_was_revoked_is_renewed(server: FakeServer, tmp_path: Path) -> None:
    shelf().keep(server.url, session("revoked"), key_file(tmp_path), NOW)
    with open_client(Stopped()) as client:
        assert client.me().tenant_id == "ten_01"
    assert shelf().sessions()[server.url].access_token.reveal() in server.tokens


def test_a_named_key_signs_in_by_itself(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf().keep(server.url, session(server.issue()), key_file(tmp_path, "other"), NOW)
    monkeypatch.setenv("LEASEBOX_KEY_FILE", str(key_file(tmp_path)))
    for _ in range(2):
        with open_client(Stopped()) as client:
            client.me()
    assert server.paths().count("POST /v2/auth/siwe/verify") == 1


def test_a_session_that_cannot_be_kept_still_serves(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEASEBOX_KEY_FILE", str(key_file(tmp_path)))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with open_client(Stopped()) as client:
        assert client.me().tenant_id == "ten_01"


def test_without_a_credential_it_says_what_to_do(server: FakeServer) -> None:
    with pytest.raises(NotSignedIn) as told:
        open_client(Stopped())
    assert "leasebox login" in told.value.fix
    assert server.calls == []


def test_each_server_has_its_session(tmp_path: Path) -> None:
    kept = Shelf(tmp_path / "leasebox")
    for url in ("http://a", "http://b"):
        kept.keep(url, session(url), tmp_path / "key", NOW)
    kept.forget("http://a")
    assert list(kept.sessions()) == ["http://b"]
    assert "http://b" not in repr(kept.sessions()["http://b"])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"http://a": 5}', b"\xff"])
def test_a_broken_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "session.json").write_bytes(content)
    kept = Shelf(tmp_path)
    assert kept.sessions() == {}
    kept.keep("http://a", session("t"), tmp_path / "key", NOW)
    assert kept.sessions()["http://a"].access_token == Secret("t")


def test_the_latest_marks_are_kept(tmp_path: Path) -> None:
    kept = Shelf(tmp_path)
    assert kept.mark("mbx_1") is None
    for number in range(203):
        kept.set_mark(f"mbx_{number}", f"msg_{number}")
        if number == 150:
            kept.set_mark("mbx_0", "msg_again")
    assert kept.mark("mbx_202") == "msg_202"
    assert kept.mark("mbx_0") == "msg_again"
    assert kept.mark("mbx_1") is None


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", DEFAULT_URL),
        (" https://box.example/ ", "https://box.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://box.example/leasebox/", "https://box.example/leasebox"),
    ],
)
def test_the_server_is_named_by_its_url(given: str, url: str) -> None:
    assert server_url({"LEASEBOX_URL": given}) == url


@pytest.mark.parametrize(
    "given", ["box.example", "ftp://box.example", "http://", "http://u:p@box.example", "http://a:x", "http://a?b", "/x"]
)
def test_what_is_no_url_is_wrong_usage(given: str) -> None:
    with pytest.raises(click.UsageError):
        server_url({"LEASEBOX_URL": given})


def test_the_configuration_lies_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shelf({}).folder == tmp_path / ".config/leasebox"
    assert shelf({"XDG_CONFIG_HOME": "/x"}).folder == Path("/x/leasebox")
