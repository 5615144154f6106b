"""Passwords are kept as argon2id hashes and compared."""

import time

import pytest

from leasebox.leases.model import generate_password
from leasebox.leases.passwords import hashed, matches
from leasebox.values.secret import Secret


def test_a_hash_matches_its_password_only() -> None:
    password = generate_password()
    stored = hashed(password)
    assert matches(stored, password)
    assert not matches(stored, generate_password())
    assert not matches(stored, Secret(""))


def test_the_form_is_argon2id_with_a_salt_of_its_own() -> None:
    password = generate_password()
    first, second = hashed(password), hashed(password)
    assert first.startswith("$argon2id$v=19$")
    assert first != second
    assert password.reveal() not in first


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$", "$argon2id$v=19$m=64,t=1,p=1$AAAA$AAAA", "plain-password"])
def test_what_is_no_hash_matches_nothing(stored: str) -> None:
    assert not matches(stored, Secret("plain-password"))


def test_a_lease_does_not_wait_for_its_hash() -> None:
    started = time.process_time()
    for _ in range(20):
        hashed(generate_password())
    assert time.process_time() - started < 0.5
