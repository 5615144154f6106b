"""Sealed bytes open in their own place under a known key, and nowhere else; each refusal says why."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as some

from leasebox.infra.seal import FORM, CannotOpen, Place, SealFault, opened, seal
from leasebox.values.keys import Purpose, ring
from leasebox.values.secret import Secret
from tests.house.source import modules

OLD, NEW = Secret("o" * 40), Secret("n" * 40)
BEFORE = ring(OLD, None, Purpose.KEPT_ANSWER)
CHANGING = ring(NEW, OLD, Purpose.KEPT_ANSWER)
AFTER = ring(NEW, None, Purpose.KEPT_ANSWER)
HERE = Place("kept_answers", (b"tenant", b"key"), b"tenantkey")
CLEAR = b"what was shown once"


def test_it_opens_as_it_was_and_shows_nothing() -> None:
    sealed = seal(BEFORE, HERE, CLEAR)
    assert opened(BEFORE, HERE, sealed, BEFORE.current.kid) == CLEAR
    assert CLEAR not in sealed
    assert sealed != seal(BEFORE, HERE, CLEAR), "a fresh nonce each time"
    assert len(sealed) == 8 + 12 + len(CLEAR) + 16
    assert opened(BEFORE, HERE, seal(BEFORE, HERE, b""), "") == b""


def test_the_key_is_named_inside_and_the_column_is_not_asked() -> None:
    sealed = seal(BEFORE, HERE, CLEAR)
    assert sealed[:8] == FORM + bytes.fromhex(BEFORE.current.kid)
    assert opened(CHANGING, HERE, sealed, "ffffffff") == CLEAR


@pytest.mark.parametrize(
    "there",
    [
        HERE._replace(table="webhook_secrets"),
        HERE._replace(row=(b"other", b"key")),
        HERE._replace(row=(b"tenant", b"other")),
        HERE._replace(row=(b"tenantk", b"ey")),
        HERE._replace(row=(b"tenant", b"key", b"")),
        HERE._replace(row=(b"key", b"tenant")),
    ],
    ids=["table", "first", "second", "shifted", "longer", "swapped"],
)
def test_moved_to_another_row_it_stays_closed(there: Place) -> None:
    with pytest.raises(CannotOpen, match=r"it was changed, or moved here") as refused:
        opened(BEFORE, there, seal(BEFORE, HERE, CLEAR), BEFORE.current.kid)
    assert refused.value.why is SealFault.NOT_OURS
    assert str(refused.value).startswith(f"{there.table}, key {BEFORE.current.kid}: ")


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(CannotOpen, match=f"^kept_answers, key {BEFORE.current.kid}: .* neither the current") as refused:
        opened(AFTER, HERE, seal(BEFORE, HERE, CLEAR), AFTER.current.kid)
    assert refused.value.why is SealFault.UNKNOWN_KEY
    assert CLEAR.decode() not in str(refused.value)


def test_another_known_key_in_the_head_does_not_open_it() -> None:
    sealed = seal(BEFORE, HERE, CLEAR)
    exchanged = FORM + bytes.fromhex(CHANGING.current.kid) + sealed[8:]
    with pytest.raises(CannotOpen, match="changed"):
        opened(CHANGING, HERE, exchanged, CHANGING.current.kid)


def test_what_was_sealed_before_there_were_forms_opens_by_its_column() -> None:
    nonce = b"\x01" * 12
    former = nonce + AESGCM(BEFORE.current.reveal()).encrypt(nonce, CLEAR, HERE.former)
    assert opened(CHANGING, HERE, former, BEFORE.current.kid) == CLEAR
    with pytest.raises(CannotOpen, match="neither"):
        opened(AFTER, HERE, former, BEFORE.current.kid)
    with pytest.raises(CannotOpen, match="moved"):
        opened(CHANGING, HERE._replace(former=b"elsewhere"), former, BEFORE.current.kid)
    with pytest.raises(CannotOpen, match="moved"):
        opened(CHANGING, HERE, former, CHANGING.current.kid)


@given(some.binary(max_size=80), some.sampled_from([b"", FORM, FORM + bytes.fromhex(BEFORE.current.kid)]))
def test_noise_never_opens_and_never_raises_anything_else(noise: bytes, head: bytes) -> None:
    with pytest.raises(CannotOpen):
        opened(BEFORE, HERE, head + noise, BEFORE.current.kid)


@given(some.binary(max_size=200), some.integers(min_value=0))
def test_any_bit_that_is_turned_is_noticed(clear: bytes, where: int) -> None:
    sealed = bytearray(seal(BEFORE, HERE, clear))
    sealed[where // 8 % len(sealed)] ^= 1 << where % 8
    with pytest.raises(CannotOpen):
        opened(BEFORE, HERE, bytes(sealed), BEFORE.current.kid)


def test_nobody_else_seals() -> None:
    """So that every sealed row is bound to its place, names its key and is found by a change of keys."""
    assert [module.inside for module in modules() if "AESGCM" in module.text] == ["infra/seal.py"]
