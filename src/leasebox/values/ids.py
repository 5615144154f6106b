"""Typed ids: UUIDv7 inside (RFC 9562 §5.7), prefixed TypeID text outside (`lse_01h2x…`)."""

import secrets
import uuid
from datetime import datetime
from typing import ClassVar, Self

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Python's own base 32 has the same digits up to 9; everything that is no digit of ours becomes none of Python's.
_TO_PYTHONS = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[ALPHABET.find(chr(byte))] if chr(byte) in ALPHABET else 33
    for byte in range(256)
)
_NOISE, _VARIANT_NOISE = (1 << 74) - 1, (1 << 62) - 1
# Milliseconds and random bits of the last one made.
_NEWEST = [0, 0]
_LOW = (1 << 70) - 1
# Two characters at a time: ids are written several times in every answer, and 13 look-ups cost a third of 26. Three at
# a time would cost half of that, and 2 MB in every process.
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
# The last one of each kind: a list names the same mailbox and lease line by line.
_LAST: dict[str, tuple[uuid.UUID, str]] = {}


class MalformedId(ValueError):
    """The text is no id of this type. Doors answer it as 404."""


class Id(uuid.UUID):
    """A UUIDv7 of one kind; `str()` gives prefix, underscore and 26 characters of Crockford base32."""

    __slots__ = ()
    prefix: ClassVar[str] = ""

    @classmethod
    def new(cls, at: datetime) -> Self:
        """A fresh id whose first 48 bits are `at` in Unix milliseconds, the rest random (74 bits).

        Higher than the one that this process made last, if that was for the same millisecond: its random bits and up to
        2^32 more (RFC 9562 §6.2, method 2). So what was made first is listed first, however quickly it went.
        """
        millis = int(at.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
        noise = int.from_bytes(secrets.token_bytes(10)) >> 6
        if millis == _NEWEST[0]:
            higher = _NEWEST[1] + 1 + (noise & 0xFFFF_FFFF)
            noise = higher if higher <= _NOISE else noise
        _NEWEST[:] = millis, noise
        return cls._made(millis << 80 | 7 << 76 | noise >> 62 << 64 | 2 << 62 | noise & _VARIANT_NOISE)

    @classmethod
    def of(cls, value: uuid.UUID) -> Self:
        """The same 128 bits as an id of this kind."""
        return cls._made(value.int)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `prefix_base32`. Raises MalformedId for anything else, upper case included."""
        head, _, body = text.partition("_")
        if head != cls.prefix or len(body) != 26 or body[0] > "7":
            raise MalformedId(cls.prefix)
        try:
            return cls._made(int(body.encode("ascii").translate(_TO_PYTHONS), 32))
        except ValueError:
            raise MalformedId(cls.prefix) from None

    @classmethod
    def _made(cls, number: int) -> Self:
        # What UUID's constructor does with an int of 128 bits, without looking at the five other ways to make one.
        made = object.__new__(cls)
        object.__setattr__(made, "int", number)
        object.__setattr__(made, "is_safe", uuid.SafeUUID.unknown)
        return made

    def __str__(self) -> str:
        return spelled(self.prefix, self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


def spelled(prefix: str, value: uuid.UUID) -> str:
    """A UUID as the text of an id of this kind, as `str()` of the id."""
    last = _LAST.get(prefix)
    if last is not None and last[0] == value:
        return last[1]
    number = value.int
    high, low = number >> 70, number & _LOW
    text = (
        f"{prefix}_{_PAIRS[high >> 50]}{_PAIRS[high >> 40 & 1023]}{_PAIRS[high >> 30 & 1023]}"
        f"{_PAIRS[high >> 20 & 1023]}{_PAIRS[high >> 10 & 1023]}{_PAIRS[high & 1023]}{_PAIRS[low >> 60]}"
        f"{_PAIRS[low >> 50 & 1023]}{_PAIRS[low >> 40 & 1023]}{_PAIRS[low >> 30 & 1023]}"
        f"{_PAIRS[low >> 20 & 1023]}{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"
    )
    _LAST[prefix] = (value, text)
    return text


class TenantId(Id):
    prefix = "ten"


class AgentId(Id):
    prefix = "agt"


class SessionId(Id):
    prefix = "ses"


class KeyId(Id):
    prefix = "key"


class LeaseId(Id):
    prefix = "lse"


class MailboxId(Id):
    prefix = "mbx"


class MessageId(Id):
    prefix = "msg"


class AttachmentId(Id):
    prefix = "att"


class ThreadId(Id):
    prefix = "thr"


class SendAttemptId(Id):
    prefix = "snd"


class DomainId(Id):
    prefix = "dom"


class WebhookId(Id):
    prefix = "whk"


class DeliveryId(Id):
    prefix = "dlv"


class EventId(Id):
    prefix = "evt"


class AuditId(Id):
    prefix = "aud"


def lowest_id(at: datetime) -> uuid.UUID:
    """No id that is made at a moment or later is lower: a span of time is a range of ids. Before 1970: the lowest."""
    return uuid.UUID(int=max(0, int(at.timestamp() * 1000)) << 80)
