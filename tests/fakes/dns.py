"""A DNS of tables: names to records, and names that nobody answers for."""

from collections import Counter
from collections.abc import Collection, Mapping

from leasebox.infra.lookups import LookupFailed, Record


class FakeDns:
    """`zone` maps `"txt name"` (or a, aaaa, mx, ptr) to records; `silent` names fail; `asked` counts the questions."""

    def __init__(self, zone: Mapping[str, Collection[Record]], silent: Collection[str] = ()) -> None:
        self._zone = zone
        self._silent = frozenset(silent)
        self.asked: Counter[str] = Counter()

    def txt(self, name: str) -> tuple[bytes, ...]:
        return tuple(one for one in self._records("txt", name) if isinstance(one, bytes))

    def a(self, name: str) -> tuple[str, ...]:
        return tuple(one for one in self._records("a", name) if isinstance(one, str))

    def aaaa(self, name: str) -> tuple[str, ...]:
        return tuple(one for one in self._records("aaaa", name) if isinstance(one, str))

    def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        return tuple(one for one in self._records("mx", name) if isinstance(one, tuple))

    def ptr(self, name: str) -> tuple[str, ...]:
        return tuple(one for one in self._records("ptr", name) if isinstance(one, str))

    def _records(self, kind: str, name: str) -> Collection[Record]:
        plain = name.lower().rstrip(".")
        self.asked[f"{kind} {plain}"] += 1
        if plain in self._silent or "*" in self._silent:
            raise LookupFailed(plain)
        return self._zone.get(f"{kind} {plain}", ())
