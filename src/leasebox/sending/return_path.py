"""The signed return path: the envelope sender of each mail we send, so that what comes back names its attempt. Pure.

`bounce+<26 characters of the attempt's id>.<20 of a MAC>@domain`: 54 octets, within the 64 of RFC 5321 §4.5.3.1.1, and
in letters that survive a change of case. No mailbox can bear such an address: `bounce` is reserved, and no leased name
holds a `+`. Only its maker can make one, so that mail to any other is backscatter and is refused at RCPT.
"""

import hmac
import re

from leasebox.values.ids import ALPHABET, MalformedId, SendAttemptId
from leasebox.values.keys import DerivedKey, KeyRing

NAME = "bounce"
# 100 bits: each guess costs a RCPT, and a lucky one only lets a bounce in.
_MAC_CHARACTERS = 20
_BITS = 5
_LOCAL = re.compile(rf"{NAME}\+([{ALPHABET}]{{26}})\.([{ALPHABET}]{{{_MAC_CHARACTERS}}})")
_CONTEXT = b"leasebox/return-path/1\x00"


def make(keys: KeyRing, attempt_id: SendAttemptId, domain: str) -> str:
    """The return path of an attempt at one of our domains (canonical, A-labels), signed with the current key.

    keys: of Purpose.RETURN_PATH.
    """
    return f"{NAME}+{_body(attempt_id)}.{_mac(keys.current, attempt_id)}@{domain}"


def read(keys: KeyRing, local_part: str) -> SendAttemptId | None:
    """The attempt that a local part was made for, by the current key or the retiring one; None for any other text.

    Any spelling of its letters is taken (RFC 5321 §2.4 has hosts keep it, and some do not). The MAC is compared in
    constant time. The domain is not part of it: all of ours lead to the same door.
    """
    # Only ASCII is lowered: the Kelvin sign would become a k.
    match = _LOCAL.fullmatch(local_part.lower() if local_part.isascii() else local_part)
    if match is None:
        return None
    try:
        attempt_id = SendAttemptId.parse(f"{SendAttemptId.prefix}_{match[1]}")
    except MalformedId:
        return None
    rings = [key for key in (keys.current, keys.previous) if key is not None]
    # A list, so that the retiring key takes as long as the current one.
    sound = [hmac.compare_digest(_mac(key, attempt_id), match[2]) for key in rings]
    return attempt_id if any(sound) else None


def _body(attempt_id: SendAttemptId) -> str:
    return str(attempt_id).partition("_")[2]


def _mac(key: DerivedKey, attempt_id: SendAttemptId) -> str:
    digest = hmac.digest(key.reveal(), _CONTEXT + attempt_id.bytes, "sha256")
    number = int.from_bytes(digest) >> (len(digest) * 8 - _MAC_CHARACTERS * _BITS)
    places = range(_BITS * (_MAC_CHARACTERS - 1), -1, -_BITS)
    return "".join(ALPHABET[number >> place & 31] for place in places)
