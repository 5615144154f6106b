"""Mailbox passwords: argon2id (RFC 9106) over passwords that we made ourselves."""

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from leasebox.values.secret import Secret

# Nobody chooses these passwords: each has 120 random bits, which no search reaches however cheap one guess is. So the
# hash needs argon2id's form and salt, not its cost: 8 KiB, the least there is, and one pass (0.02 ms).
_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)


def hashed(password: Secret) -> str:
    """The PHC string to store."""
    return _HASHER.hash(password.reveal())


def matches(stored: str, password: Secret) -> bool:
    """Whether this is the password behind a stored hash."""
    try:
        return _HASHER.verify(stored, password.reveal())
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False
