"""SPF (RFC 7208) by pyspf, asking our resolver and nobody else."""

import re
from collections.abc import Callable
from typing import Any, Final

import spf

from leasebox.infra.lookups import LookupFailed, Resolver

_WORDS: Final = frozenset(("none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"))
_NAME: Final = re.compile(r"(?=.{4,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_-]{1,63})+", re.IGNORECASE)


def check_spf(client_ip: str, mail_from: str, helo: str, resolver: Resolver) -> str:
    """The RFC 8601 word for the MAIL FROM identity, or for HELO where the sender is null (RFC 7208 §2.4)."""
    if not _NAME.fullmatch(spf_domain(mail_from, helo)):
        return "none"
    try:
        word = _Query(client_ip, mail_from, helo, resolver).check()[0]
    except LookupFailed:
        return "temperror"
    except Exception:  # noqa: BLE001  # pyspf reads a stranger's record here; what it stumbles over is in the record
        return "permerror"
    return word if word in _WORDS else "permerror"


def spf_domain(mail_from: str, helo: str) -> str:
    """The domain that SPF speaks for, in lower case."""
    return (mail_from.rpartition("@")[2] if mail_from else helo).rstrip(".").lower()


class _Query(spf.query):  # type: ignore[misc]  # pyspf ships no types
    """pyspf's evaluation with its one point of contact with the DNS replaced."""

    def __init__(self, client_ip: str, mail_from: str, helo: str, resolver: Resolver) -> None:
        super().__init__(i=client_ip, s=mail_from, h=helo)
        self._ask: dict[str, Callable[[str], list[Any]]] = {
            "TXT": lambda name: [(text,) for text in resolver.txt(name)],
            "A": lambda name: list(resolver.a(name)),
            "AAAA": lambda name: list(resolver.aaaa(name)),
            "MX": lambda name: list(resolver.mx(name)),
            "PTR": lambda name: list(resolver.ptr(name)),
        }

    def dns(self, name: str, qtype: str, **options: Any) -> list[Any]:
        labels = str(name).rstrip(".").lower().split(".")
        if not all(0 < len(label) < 64 for label in labels):
            return []
        try:
            found = self._ask[qtype](".".join(labels))
        except LookupFailed as failed:
            raise spf.TempError(str(failed)) from failed
        if not found and not options.get("ignore_void"):
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:  # RFC 7208 §4.6.4
                raise spf.PermError("too many void lookups")
        return found
