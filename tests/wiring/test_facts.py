"""What an instance tells of itself comes from its settings, and holds no secret."""

import socket
from pathlib import Path

import msgspec
import pytest

from leasebox.config import Settings
from leasebox.wiring.facts import doors_of, facts_of, guide_facts_of, smtp_host
from tests.kit import SECRET, settings_for


def settings(place: Path, **more: str) -> Settings:
    return settings_for("postgresql://u:c4n4ry@h/d", "redis://:c4n4ry@h/0", str(place), **more)


@pytest.mark.parametrize(
    ("chain", "name", "hexadecimal", "explorers"),
    [
        ("84532", "Base Sepolia", "0x14a34", ["https://sepolia.basescan.org"]),
        ("8453", "Base", "0x2105", ["https://basescan.org"]),
        ("31337", "Local development chain", "0x7a69", []),
        ("424242", "eip155:424242", "0x67932", []),
    ],
)
def test_the_chain_is_named(tmp_path: Path, chain: str, name: str, hexadecimal: str, explorers: list[str]) -> None:
    facts = facts_of(settings(tmp_path, LEASEBOX_CHAIN_ID=chain))
    assert (facts.base_chain_id, facts.chain_name) == (int(chain), name)
    assert (facts.chain_hex, facts.chain_explorer_urls) == (hexadecimal, explorers)


def test_limits_are_the_settings(tmp_path: Path) -> None:
    more = {"LEASEBOX_MAX_MAIL_MIB": "3", "LEASEBOX_API_RATE": "9/s", "LEASEBOX_SIGNIN_RATE": "0"}
    limits = facts_of(settings(tmp_path, **more)).limits
    assert (limits["mail_bytes_max"], limits["api_rate"], limits["signin_rate"]) == (3 * 1024**2, "9/1s", "unlimited")


def test_no_secret_is_told(tmp_path: Path) -> None:
    more = {"LEASEBOX_RPC_URL": "https://u:c4n4ry@rpc.example/c4n4ry", "LEASEBOX_RELAY": "smtp://u:c4n4ry@h:25"}
    made = settings(tmp_path, **more)
    told = msgspec.json.encode(facts_of(made)).decode() + repr(guide_facts_of(made))
    assert "c4n4ry" not in told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("bound", "told"), [("127.0.0.1:25", "127.0.0.1"), ("0.0.0.0:25", socket.getfqdn()), ("[::]:25", socket.getfqdn())]
)
def test_a_server_on_all_addresses_names_itself(tmp_path: Path, bound: str, told: str) -> None:
    made = settings(tmp_path, LEASEBOX_SMTP=bound)
    assert smtp_host(made) == told
    handing_in = settings(tmp_path, LEASEBOX_SUBMISSION=bound)
    assert facts_of(handing_in).smtp == {"host": told, "port": 25, "security": "starttls"}
    assert doors_of(handing_in).smtp == facts_of(handing_in).smtp


def test_the_guide_names_the_same(tmp_path: Path) -> None:
    made = settings(tmp_path, LEASEBOX_MAIL_DOMAIN="a.test,b.test")
    guide, facts = guide_facts_of(made), facts_of(made)
    assert (guide.base_url, list(guide.mail_domains)) == (made.public_url, facts.mailbox_domains)
    assert (guide.chain_id, guide.chain_name, guide.version) == (facts.base_chain_id, facts.chain_name, facts.version)
