"""A claim's secrets: their form, and the key that waits sealed."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leasebox.infra import seal as sealing
from leasebox.infra.seal import CannotOpen
from leasebox.leases.claims_model import ClaimId
from leasebox.leases.claims_seal import _place, _ring, is_link, is_token, new_link, new_token, opened, seal
from leasebox.values.keys import DerivedKey, KeyRing
from leasebox.values.paths import Route, normalize
from leasebox.values.secret import Secret, fingerprint

KEY = Secret("lb_the-key")
CLAIM = ClaimId.new(datetime(2026, 11, 20, tzinfo=UTC))


def test_tokens_and_links_look_like_themselves_only() -> None:
    token, link = new_token().reveal(), new_link().reveal()
    assert is_token(token)
    assert is_link(link)
    assert not is_token(link)
    assert not is_link(token)
    assert token != new_token().reveal()
    assert link != new_link().reveal()


@pytest.mark.parametrize(
    "text", ["", "lbc_", "lbc_" + "0" * 63, "lbc_" + "g" * 64, "lbs_" + "0" * 64, "lbc_" + "0" * 65]
)
def test_what_is_no_token(text: str) -> None:
    assert not is_token(text)


def test_a_link_is_a_path_here() -> None:
    assert isinstance(normalize("GET", f"/claims/{new_link().reveal()}"), Route)


def test_only_its_token_opens_it_and_only_for_its_claim() -> None:
    token = new_token()
    sealed = seal(KEY, token, CLAIM)
    assert opened(sealed, token, CLAIM) == KEY
    assert opened(sealed, new_token(), CLAIM) is None
    assert opened(sealed, token, ClaimId.new(datetime(2026, 11, 20, tzinfo=UTC))) is None
    assert opened(bytes([sealed[0] ^ 1]) + sealed[1:], token, CLAIM) is None
    assert opened(sealed[:-1] + bytes([sealed[-1] ^ 1]), token, CLAIM) is None
    assert KEY.reveal().encode() not in sealed
    assert seal(KEY, token, CLAIM) != sealed


def test_what_is_stored_of_the_token_does_not_open_it() -> None:
    token = new_token()
    ours = _ring(token).current
    assert ours.reveal() != fingerprint(token)
    assert bytes.fromhex(ours.kid) not in fingerprint(token)
    thief = KeyRing(DerivedKey(ours.kid, fingerprint(token)))
    with pytest.raises(CannotOpen):
        sealing.opened(thief, _place(CLAIM), seal(KEY, token, CLAIM), ours.kid)


def test_what_was_sealed_before_there_were_forms_opens_still() -> None:
    token, nonce = new_token(), bytes(12)
    key = HKDF(SHA256(), 32, None, b"leasebox/1/claim-key").derive(token.reveal().encode())
    former = nonce + AESGCM(key).encrypt(nonce, KEY.reveal().encode(), CLAIM.bytes)
    assert opened(former, token, CLAIM) == KEY
