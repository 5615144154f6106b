"""EIP-4361 by itself: what we write, what we read, what we decide; against the vectors and against hostile text."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from leasebox.identity import siwe
from leasebox.identity.errors import NotAChallenge, SignInRefused
from leasebox.identity.model import SignInPolicy
from leasebox.values.errors import Unprocessable
from tests.identity.eip4361 import vectors, wrong_messages
from tests.kit import sign

POLICY = SignInPolicy("leasebox.test", "http://leasebox.test", (84532, 8453))
AT = datetime(2026, 11, 20, 10, 2, 24, 654321, UTC)
WALLET = Account.create()


def written(**change: Any) -> str:
    """A message of ours for WALLET."""
    policy = SignInPolicy(change.get("domain", POLICY.domain), POLICY.uri, POLICY.chain_ids)
    return siwe.write(policy, WALLET.address, change.get("chain", 84532), "Sign in.", AT).message


def test_what_we_write_is_eip_4361_to_the_letter() -> None:
    made = siwe.write(POLICY, WALLET.address, 8453, "Sign in to lease.", AT)
    lines = made.message.split("\n")
    assert lines[:2] == ["leasebox.test wants you to sign in with your Ethereum account:", WALLET.address]
    assert lines[2:5] == ["", "Sign in to lease.", ""]
    assert lines[5:9] == ["URI: http://leasebox.test", "Version: 1", "Chain ID: 8453", f"Nonce: {made.nonce}"]
    assert lines[9:11] == ["Issued At: 2026-11-20T10:02:24.000Z", "Expiration Time: 2026-11-20T10:07:24.000Z"]
    assert re.fullmatch(r"Request ID: [0-9a-f]{16}", lines[11])
    assert len(lines) == 12
    assert re.fullmatch(r"[0-9a-f]{32}", made.nonce), "128 bits"
    assert made.expires_at == datetime(2026, 11, 20, 10, 7, 24, tzinfo=UTC)


def test_no_two_messages_are_alike() -> None:
    assert len({siwe.write(POLICY, WALLET.address, 84532, "x", AT).nonce for _ in range(200)}) == 200


def test_what_we_write_we_read() -> None:
    parsed = siwe.parse(written())
    assert (parsed.address, parsed.chain_id, parsed.domain) == (WALLET.address, 84532, "leasebox.test")


@pytest.mark.parametrize("name", sorted(vectors("parsing_positive")) or ["absent"])
def test_vectors_that_parse(name: str) -> None:
    if name == "absent":
        pytest.skip("the shared SIWE vectors are absent")
    vector = vectors("parsing_positive")[name]
    parsed = siwe.parse(vector["message"])
    assert parsed.address == vector["fields"]["address"]
    assert str(parsed.nonce) == vector["fields"]["nonce"]


@pytest.mark.parametrize("name", sorted(wrong_messages()) or ["absent"])
def test_vectors_that_do_not(name: str) -> None:
    if name == "absent":
        pytest.skip("the shared SIWE vectors are absent")
    with pytest.raises(NotAChallenge) as refused:
        siwe.parse(wrong_messages()[name])
    assert wrong_messages()[name][:20] not in str(refused.value)


@given(
    st.text(max_size=200)
    | st.builds(lambda cut, more: written()[:cut] + more, st.integers(0, 300), st.text(max_size=30))
)
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        siwe.parse(text)
    except NotAChallenge as refused:
        assert refused.fix


@pytest.mark.parametrize("text", ["x" * 4097, "\n" * 4000, "leasebox.test wants " * 200, "\x00", "a" * 4096])
def test_long_and_odd_texts_are_refused_quickly(text: str) -> None:
    with pytest.raises(NotAChallenge):
        siwe.parse(text)


def test_the_wallets_signature_is_accepted() -> None:
    message = written()
    siwe.check(siwe.parse(message), POLICY, sign(WALLET, message), AT)
    siwe.check(
        siwe.parse(message), POLICY, sign(WALLET, message).removeprefix("0x"), AT + timedelta(minutes=4, seconds=59)
    )
    assert siwe.parse(message).address == WALLET.address


@pytest.mark.parametrize(
    ("change", "after", "reason"),
    [
        ({"domain": "evil.test"}, 0, "domain"),
        ({"chain": 1}, 0, "chain"),
        ({}, 301, "expired"),
        ({}, 86_400, "expired"),
    ],
)
def test_a_message_for_elsewhere_or_too_late_is_refused(change: dict[str, Any], after: int, reason: str) -> None:
    message = written(**change)
    with pytest.raises(SignInRefused) as refused:
        siwe.check(siwe.parse(message), POLICY, sign(WALLET, message), AT + timedelta(seconds=after))
    assert refused.value.fields["reason"] == reason


def signatures() -> dict[str, str]:
    right = sign(WALLET, written())
    r, s, v = right[2:66], right[66:130], right[130:]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    return {
        "of another wallet": sign(Account.create(), written()),
        "of another message": sign(WALLET, "something else"),
        "empty": "",
        "no hex": "zz" * 65,
        "short": right[:-2],
        "long": right + "00",
        "odd": right[:-1],
        "zeros": "0x" + "00" * 65,
        "ones": "0x" + "ff" * 65,
        "v 26": f"0x{r}{s}1a",
        "v flipped": f"0x{r}{s}{'1b' if v == '1c' else '1c'}",
        "r zero": f"0x{'00' * 32}{s}{v}",
        "s zero": f"0x{r}{'00' * 32}{v}",
        "r beyond the order": f"0x{order:064x}{s}{v}",
        "huge": "0x" + "11" * 9000,
    }


@pytest.mark.parametrize("name", signatures())
def test_any_other_signature_is_refused(name: str) -> None:
    message = written()
    with pytest.raises(SignInRefused) as refused:
        siwe.check(siwe.parse(message), POLICY, signatures()[name], AT)
    assert refused.value.fields["reason"] == "signature"


@pytest.mark.parametrize(
    ("address", "checksummed"),
    [
        ("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ("0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ("0x" + "0" * 40, "0x" + "0" * 40),
    ],
)
def test_addresses_get_their_checksum(address: str, checksummed: str) -> None:
    assert siwe.checksummed(address) == checksummed


@pytest.mark.parametrize(
    "address",
    [
        "",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
        "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae",
        "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed\n",
        "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaeg",
        "0x\u0665" + "a" * 39,
    ],
)
def test_what_is_no_address_is_422(address: str) -> None:
    with pytest.raises(Unprocessable):
        siwe.checksummed(address)
