"""A claim's secrets: their form, and the key that waits sealed."""

from datetime import UTC, datetime

import pytest

from leasebox.leases.claims_model import ClaimId
from leasebox.leases.claims_seal import is_link, is_token, new_link, new_token, opened, seal
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
    assert KEY.reveal().encode() not in sealed
    assert seal(KEY, token, CLAIM) != sealed


def test_what_is_stored_of_the_token_does_not_open_it() -> None:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    token = new_token()
    sealed = seal(KEY, token, CLAIM)
    with pytest.raises(InvalidTag):
        AESGCM(fingerprint(token)).decrypt(sealed[:12], sealed[12:], CLAIM.bytes)
