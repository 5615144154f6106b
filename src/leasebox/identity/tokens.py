"""Bearer tokens: how sessions and API keys look, and what we keep of them. Pure.

Both carry 256 random bits; we store their SHA-256. API keys end in a CRC-32 so that a mistyped key is told from a
revoked one without asking the database, and secret scanners can recognise a leaked one.
"""

import secrets
import string
import zlib

from leasebox.values.secret import Secret

SESSION_PREFIX = "lbs_"
KEY_PREFIX = "lb_"
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY = 43


def new_session_token() -> Secret:
    """`lbs_` and 43 characters of base62 (256 bits)."""
    return Secret(SESSION_PREFIX + _random_body())


def new_api_key() -> Secret:
    """`lb_`, 43 characters of base62 (256 bits), 6 of checksum."""
    body = _random_body()
    return Secret(KEY_PREFIX + body + _checksum(body))


def plausible(text: str) -> bool:
    """Whether the text can be one of our tokens at all: prefix, length, alphabet and, for a key, its checksum."""
    prefix = SESSION_PREFIX if text.startswith(SESSION_PREFIX) else KEY_PREFIX
    body, mark = text[len(prefix) : len(prefix) + _BODY], text[len(prefix) + _BODY :]
    if not text.startswith(prefix) or len(body) != _BODY or not (body.isascii() and body.isalnum()):
        return False
    return mark == ("" if prefix == SESSION_PREFIX else _checksum(body))


def hint_of(token: Secret) -> str:
    """What may be shown of a token to tell it from others: its first eight characters."""
    return token.reveal()[:8]


def is_session(text: str) -> bool:
    """Whether a plausible token is a session's rather than an API key."""
    return text.startswith(SESSION_PREFIX)


def _random_body() -> str:
    return _base62(secrets.randbits(256), _BODY)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), 6)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
