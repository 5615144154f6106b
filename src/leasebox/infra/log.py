"""Structured logs: a JSON object a line, text on a terminal, and no secret in either.

Bind what holds for a whole task with `bind(request_id=…)`; it stands in every line of that task.
"""

import contextlib
import functools
import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TextIO

import msgspec

from leasebox.values.clock import SystemClock, rfc3339
from leasebox.values.secret import Secret

# structlog loads rich, where that can be imported, for traces on terminals. Ours are plain, so no role need carry it
# (5 MB and 34 ms); the command line draws with it, and imports it by itself.
_RICH = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    if _RICH is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _RICH

REDACTED = "***"
_DEPTH = 6
_KEYS = re.compile(
    r"pass(word|wd|phrase)|secret|token|authorization|proof|signature|api_?key|private_?key|mnemonic|cookie|\botp|otp_code",
    re.IGNORECASE,
)
# Each pair: what gives a secret away inside running text, and what stands there afterwards.
_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{4,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\b(lb[a-z]?_|whsec_)[\w+/=-]{8,}"), rf"\1{REDACTED}"),
    (re.compile(r"\b([a-z][a-z0-9+.-]*://)[^/\s?#\"']*@", re.IGNORECASE), rf"\1{REDACTED}@"),
    (
        re.compile(r"([?&;](?:pass(?:word)?|secret|token|signature|api_?key|key)=)[^&\s\"';]+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\bv1\.[\w-]+\.[\w-]{16,}\.[\w-]{16,}"), f"v1.{REDACTED}"),
    (re.compile(r"\b0x[0-9a-fA-F]{128,}"), f"0x{REDACTED}"),
)
_HINT = re.compile(r"bearer|basic|lb[a-z]?_|whsec_|@|=|v1\.|0x", re.IGNORECASE)
Line = MutableMapping[str, Any]
_PLAIN: list[Any] = [None]  # where `tell` may write its lines by itself


def configure(level: str = "info", form: str | None = None, stream: TextIO | None = None) -> None:
    """Send every log of this process, the libraries' too, to `stream` (default stderr).

    level: debug, info, warning or error. form: json or text; None is text on a terminal, else json.
    """
    raw = stream or sys.stderr
    out: Any = _Steady(raw)
    form = form or ("text" if raw.isatty() else "json")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        redact,
    ]
    writing: Any = _line if form == "json" else structlog.dev.ConsoleRenderer(timestamp_key="time", colors=raw.isatty())
    structlog.configure(
        processors=[*shared[:2], *shared[3:], writing],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    plain = form == "json" and logging.getLevelNamesMapping()[level.upper()] <= logging.INFO
    _PLAIN[:] = [out if plain else None]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_component, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, writing],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell us about trouble only: their own chatter names hosts, statements and parameters.
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    sys.excepthook = _uncaught


def tell(name: str, event: str, facts: dict[str, Any]) -> None:
    """`get(name).info(event, **facts)` for what is told at every call: the same line at a fifth of the CPU."""
    out = _PLAIN[-1] if structlog.is_configured() else None
    if out is None:
        get(name).info(event, **facts)
        return
    line = {
        "time": rfc3339(SystemClock().now()),
        "level": "info",
        "event": event,
        "component": name,
        **{key: _clean(key, value, 0) for key, value in facts.items()},
        **{key: _clean(key, value, 0) for key, value in structlog.contextvars.get_contextvars().items()},
    }
    out.write(msgspec.json.encode(line).decode() + "\n")
    out.flush()


def get(name: str) -> Any:
    """A logger: `get("smtp").info("mail accepted", size_bytes=812)`."""
    return structlog.get_logger(component=name)


def bind(**facts: str) -> AbstractContextManager[None]:
    """Put `facts` (request_id, role) into every line of this task while the context lasts."""
    return _Bound(facts)


def bind_process(**facts: str) -> None:
    """Put `facts` into every line of this process that is logged by tasks started from now on."""
    structlog.contextvars.bind_contextvars(**facts)


def redact(logger: Any, method: str, line: Line) -> Line:
    """The structlog processor that takes every secret out of a line: by type, by the key's name, by its looks."""
    del logger, method
    for key, value in line.items():
        line[key] = _clean(key, value, 0)
    return line


def scrub(text: str) -> str:
    """`text` without tokens, keys, proofs, signatures and the user part of URLs."""
    if _HINT.search(text):
        for pattern, replacement in _TEXT:
            text = pattern.sub(replacement, text)
    return text


class _Bound(AbstractContextManager[None]):
    """structlog's own context manager does the same by a generator, twice as dear."""

    __slots__ = ("_facts", "_tokens")

    def __init__(self, facts: dict[str, str]) -> None:
        self._facts = facts

    def __enter__(self) -> None:
        self._tokens = structlog.contextvars.bind_contextvars(**self._facts)

    def __exit__(self, *told: object) -> None:
        structlog.contextvars.reset_contextvars(**self._tokens)


class _Steady:
    """A stream whose reader may go away: losing a log line must not fail the request that it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _clean(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if type(value) is str and not _gives_away(key):  # nearly all
        return scrub(value)
    if isinstance(value, Secret) or _gives_away(key):
        return REDACTED
    if isinstance(value, int | float):
        return value
    if isinstance(value, bytes):
        return scrub(value.decode(errors="backslashreplace"))
    if depth < _DEPTH and isinstance(value, dict):
        return {str(name): _clean(str(name), inner, depth + 1) for name, inner in value.items()}
    if depth < _DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, inner, depth + 1) for inner in value]
    return scrub(str(value))


@functools.lru_cache(1024)
def _gives_away(key: str) -> bool:
    # An id only names a secret; it is what one searches logs for.
    return bool(_KEYS.search(key)) and not key.endswith("_id")


def _line(logger: Any, method: str, line: Line) -> str:
    del logger, method
    first = {key: line.pop(key) for key in ("time", "level", "event") if key in line}
    return msgspec.json.encode(first | dict(line)).decode()


def _component(logger: Any, method: str, line: Line) -> Line:
    del logger, method
    line["component"] = line["_record"].name
    return line


def _uncaught(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    get("process").critical("died of an uncaught exception", exc_info=(kind, fault, trace))
