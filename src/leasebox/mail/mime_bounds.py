"""What one mail may cost us. Every bound is taken on bytes or counts before the work that it bounds is done.

A mail over a bound is cut there and says so in its defects; it is never refused, since it was already accepted.
"""

from typing import Final

DEPTH: Final = 20
"""Nested multiparts that are opened; deeper ones are listed as one attachment."""
PARTS: Final = 500
"""Parts of a whole mail; what stands after the last of them is not read."""
DELIMITER_TRIES: Final = 10_000
"""Lines that begin like a delimiter and are none, over a whole mail, before we stop looking for parts."""
HEADERS: Final = 1_000
"""Header fields of a mail; also of each part."""
HEADER_BYTES: Final = 256 * 1024
"""Bytes of one header block that are read."""
PART_HEADER_BYTES: Final = 16 * 1024
"""Bytes of the header block of one part below the root that are read."""
PART_HEADERS_BYTES: Final = 512 * 1024
"""Bytes of the header blocks of all parts below the root together."""
FIELD_BYTES: Final = 64 * 1024
"""Bytes of one header field's value that are decoded."""
STRUCTURED_BYTES: Final = 16 * 1024
"""Bytes of a Content-Type or Content-Disposition value that are read."""
PARAMETERS: Final = 200
"""Parameters of one Content-Type or Content-Disposition."""
ADDRESSES: Final = 500
"""Addresses read from one header field."""
REFERENCES: Final = 100
"""Message ids kept of References: the first and the last ones, since threads hang on these."""
SUBJECT_CHARS: Final = 1_000
NAME_CHARS: Final = 256
ADDRESS_CHARS: Final = 320
"""RFC 5321 §4.5.3.1: 64 for the local part, 255 for the domain, and the `@`."""
MESSAGE_ID_CHARS: Final = 998
FILENAME_BYTES: Final = 200
"""UTF-8 bytes of a file name, so that every file system takes it with room for a suffix of ours."""
TEXT_BYTES: Final = 1024 * 1024
"""Bytes of all plain text of a mail together, before charset decoding."""
HTML_BYTES: Final = 1024 * 1024
"""Bytes of all HTML of a mail together, before charset decoding."""
ENCODED_PER_OCTET: Final = 4
"""Bytes read of an encoded text body for each octet of its budget (quoted-printable needs three, with line breaks)."""
SOFT_BREAK_BYTES: Final = 4 * 1024 * 1024
"""Quoted-printable bodies above this are not searched for soft breaks with blanks behind them."""
PREVIEW_CHARS: Final = 140
BASE64_RESTARTS: Final = 1_000
"""Padded base64 runs glued together in one body (some senders encode line by line)."""


class Defects:
    """Collects what is wrong with a mail, each word once, in the order found.

    `fatal` words are those after which an empty result means that we gave up, not that the mail was empty.
    """

    _FATAL = frozenset({"too_deep", "too_many_parts", "too_many_delimiters", "header_bytes_over", "headers_over"})

    __slots__ = ("_words",)

    def __init__(self) -> None:
        self._words: dict[str, None] = {}

    def add(self, word: str) -> None:
        """Note a defect, a stable snake_case word."""
        self._words[word] = None

    def words(self) -> tuple[str, ...]:
        return tuple(self._words)

    def fatal(self) -> bool:
        """True when a bound was hit that hides parts of the mail."""
        return not self._FATAL.isdisjoint(self._words)
