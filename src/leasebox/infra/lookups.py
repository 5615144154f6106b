"""The questions that sender authentication asks the DNS, apart from how they are answered (dnspython)."""

from typing import Protocol

Record = bytes | str | tuple[int, str]


class LookupFailed(OSError):
    """The DNS gave no answer: a timeout, a refusal, a closed network, or a budget that is spent. Worth a retry."""


class Resolver(Protocol):
    """Looks names up. No such name, or no such record, is an empty answer. Raises LookupFailed."""

    def txt(self, name: str) -> tuple[bytes, ...]:
        """TXT records, the strings of each joined."""

    def a(self, name: str) -> tuple[str, ...]: ...

    def aaaa(self, name: str) -> tuple[str, ...]: ...

    def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        """Preference and host of each MX record."""

    def ptr(self, name: str) -> tuple[str, ...]:
        """Host names under a reverse name (`1.2.0.192.in-addr.arpa`)."""
