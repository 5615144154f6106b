"""Text that must never reach a log, an error body or a page (house rule 13)."""

import hashlib
import hmac


class Secret:
    """Holds a secret; only `reveal()` gives it, `repr` and `str` are redacted."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself: say it only to whoever must have it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


def fingerprint(secret: Secret) -> bytes:
    """SHA-256 of a secret of at least 128 random bits: what we store to recognise it later (32 bytes).

    A plain hash is enough because the input is not guessable; passwords go through argon2id instead.
    """
    return hashlib.sha256(secret.reveal().encode()).digest()
