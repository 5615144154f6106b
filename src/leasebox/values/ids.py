"""Typed ids: UUIDv7 inside (RFC 9562 §5.7), prefixed TypeID text outside (`lse_01h2x…`)."""

import secrets
import uuid
from datetime import datetime
from typing import ClassVar, Self

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {char: index for index, char in enumerate(ALPHABET)}
# Two characters at a time: ids are written several times in every answer, and 13 look-ups cost a third of 26.
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))


class MalformedId(ValueError):
    """The text is no id of this type. Doors answer it as 404."""


class Id(uuid.UUID):
    """A UUIDv7 of one kind; `str()` gives prefix, underscore and 26 characters of Crockford base32."""

    __slots__ = ()
    prefix: ClassVar[str] = ""

    @classmethod
    def new(cls, at: datetime) -> Self:
        """A fresh id whose first 48 bits are `at` in Unix milliseconds, the rest random (74 bits)."""
        millis = int(at.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
        noise = secrets.randbits(74)
        return cls(int=millis << 80 | 7 << 76 | (noise >> 62) << 64 | 2 << 62 | noise & ((1 << 62) - 1))

    @classmethod
    def of(cls, value: uuid.UUID) -> Self:
        """The same 128 bits as an id of this kind."""
        return cls(int=value.int)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `prefix_base32`. Raises MalformedId for anything else, upper case included."""
        head, _, body = text.partition("_")
        if head != cls.prefix or len(body) != 26 or body[0] > "7":
            raise MalformedId(cls.prefix)
        number = 0
        for char in body:
            digit = _VALUES.get(char)
            if digit is None:
                raise MalformedId(cls.prefix)
            number = number << 5 | digit
        return cls(int=number)

    def __str__(self) -> str:
        number = self.int
        return f"{self.prefix}_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


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
