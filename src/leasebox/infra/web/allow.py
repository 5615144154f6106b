"""Which methods a path has: for `Allow` (RFC 9110 §10.2.1), which Litestar fills from one of a path's routes only."""

import re
from collections.abc import Iterable
from typing import Any

_PARAMETER = re.compile(r"\\\{[^}]*\\\}")


class Methods:
    """The methods of every path of an application."""

    def __init__(self, routes: Iterable[Any]) -> None:
        found: dict[str, set[str]] = {}
        for route in routes:
            if hasattr(route, "methods"):
                found.setdefault(route.path, {"OPTIONS"}).update(route.methods)
        self._literal = {path: tuple(sorted(methods)) for path, methods in found.items() if "{" not in path}
        self._patterns = [
            (re.compile(_PARAMETER.sub("[^/]+", re.escape(path)) + r"\Z"), tuple(sorted(methods)))
            for path, methods in found.items()
            if "{" in path
        ]

    def of(self, path: str) -> tuple[str, ...]:
        """The methods of a path, sorted, OPTIONS among them; none when there is no such path."""
        if path in self._literal:
            return self._literal[path]
        return next((methods for pattern, methods in self._patterns if pattern.match(path)), ())
