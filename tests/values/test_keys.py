"""Derived keys: RFC 5869's own vectors, one key per purpose, two masters at a time."""

import hmac
import pickle
from hashlib import sha256

import pytest

from leasebox.values import keys
from leasebox.values.keys import AmbiguousKeys, KeyRing, Purpose, WeakMaster, derive, ring
from leasebox.values.secret import Secret

MASTER = Secret("m" * 32)
BEFORE = Secret("b" * 32)


def _hkdf(material: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 §2.2 and §2.3 with no salt and one block, written down a second time."""
    extracted = hmac.digest(bytes(32), material, sha256)
    return hmac.digest(extracted, info + b"\x01", sha256)[:length]


def test_the_second_writing_is_right() -> None:
    """RFC 5869 appendix A.3 (SHA-256, no salt, no info), first block."""
    assert _hkdf(b"\x0b" * 22, b"", 32).hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


@pytest.mark.parametrize("purpose", Purpose)
def test_a_key_is_hkdf_of_its_purpose(purpose: Purpose) -> None:
    key = derive(MASTER, purpose)
    assert key.reveal() == _hkdf(b"m" * 32, f"leasebox/1/{purpose.value}/key".encode(), 32)
    assert key.kid == _hkdf(b"m" * 32, f"leasebox/1/{purpose.value}/kid".encode(), 4).hex()


def test_purposes_and_masters_share_nothing() -> None:
    made = [derive(master, purpose) for master in (MASTER, BEFORE) for purpose in Purpose]
    assert len({key.kid for key in made}) == len({key.reveal() for key in made}) == len(made)
    assert not any(key.reveal().hex().startswith(key.kid) for key in made)


@pytest.mark.parametrize("text", ["", "short", "x" * 31])
def test_a_weak_master_is_refused_without_being_said(text: str) -> None:
    with pytest.raises(WeakMaster) as refusal:
        derive(Secret(text), Purpose.PAYMENT_PROOF)
    assert not text or text not in str(refusal.value)


def test_a_ring_finds_the_current_and_the_previous_key_only() -> None:
    found = ring(MASTER, BEFORE, Purpose.PAYMENT_PROOF)
    assert found.previous is not None
    assert found.find(found.current.kid) is found.current
    assert found.find(found.previous.kid) is found.previous
    assert found.find("00000000") is None
    assert ring(MASTER, None, Purpose.PAYMENT_PROOF).find(found.previous.kid) is None


def test_the_same_master_twice_is_one_key() -> None:
    assert ring(MASTER, Secret("m" * 32), Purpose.PAYMENT_PROOF).previous is None


def test_two_keys_under_one_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_hkdf", lambda material, info, length: bytes(length))
    with pytest.raises(AmbiguousKeys):
        ring(MASTER, BEFORE, Purpose.PAYMENT_PROOF)


def test_a_key_does_not_show_itself() -> None:
    key = derive(MASTER, Purpose.AUDIT_HEAD)
    shown = f"{key} {key!r} {KeyRing(key)!r}"
    assert key.kid in shown
    assert key.reveal().hex() not in shown
    assert repr(key.reveal()) not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)
