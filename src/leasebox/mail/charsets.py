"""Bytes to text whatever the label says: aliases, wrong labels repaired, and nothing PostgreSQL would refuse.

Only encodings on our list are ever looked up: a stranger's label reaches neither the import system nor the quadratic
or non-text codecs of Python (`punycode`, `idna`, `zlib`, `unicode_escape`).
"""

import codecs
import re
from functools import lru_cache
from typing import Final

_LABEL_NOISE: Final = re.compile(r"[^a-z0-9]+")

_SINGLE_NAMES: Final = (
    "cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp437 cp850 cp852 cp855 cp857 cp858 cp860 cp861 "
    "cp862 cp863 cp865 cp866 cp869 cp874 iso8859_2 iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 "
    "iso8859_10 iso8859_13 iso8859_14 iso8859_15 iso8859_16 koi8_r koi8_u koi8_t kz1048 ptcp154 mac_roman mac_cyrillic "
    "mac_greek mac_turkish mac_latin2 mac_iceland hp_roman8 cp037 cp500 cp1140"
)
_MULTI_NAMES: Final = (
    "utf_8 utf_7 utf_16 utf_16_le utf_16_be utf_32 utf_32_le utf_32_be gb18030 hz big5hkscs cp932 shift_jis_2004 "
    "euc_jp euc_jis_2004 iso2022_jp_ext iso2022_jp_2004 cp949 iso2022_kr johab"
)
_SINGLE: Final = _SINGLE_NAMES.split()
_MULTI: Final = _MULTI_NAMES.split()

# Label with all punctuation removed, to codec. Wider codecs stand in for the narrow ones that senders name but
# overstep (WHATWG Encoding §4.2 does the same): GB 2312 → GB 18030, Latin-1 and ASCII → Windows-1252 …
_ALIASES: Final[dict[str, str]] = {
    **{_LABEL_NOISE.sub("", name): name for name in (*_SINGLE, *_MULTI)},
    **{f"windows{name[2:]}": name for name in _SINGLE if name.startswith("cp12")},
    **{f"win{name[2:]}": name for name in _SINGLE if name.startswith("cp12")},
    **{f"xcp{name[2:]}": name for name in _SINGLE if name.startswith("cp12")},
    **{f"ibm{name[2:]}": name for name in _SINGLE if name.startswith("cp")},
    **{f"iso{name[3:].replace('_', '')}": name for name in _SINGLE if name.startswith("iso8859")},
    **dict.fromkeys(("usascii", "ascii", "ansix341968", "iso646us", "646", "us", "cp367", "ibm367"), "cp1252"),
    **dict.fromkeys(("iso88591", "iso885911987", "latin1", "l1", "isoir100", "cp819", "ibm819", "xansi"), "cp1252"),
    **dict.fromkeys(("latin2", "l2", "isoir101"), "iso8859_2"),
    **dict.fromkeys(("latin3", "l3"), "iso8859_3"),
    **dict.fromkeys(("latin4", "l4"), "iso8859_4"),
    **dict.fromkeys(("cyrillic", "isoir144"), "iso8859_5"),
    **dict.fromkeys(("arabic", "iso88596e", "iso88596i", "asmo708"), "iso8859_6"),
    **dict.fromkeys(("greek", "greek8", "sunelgreek", "elot928"), "iso8859_7"),
    **dict.fromkeys(("hebrew", "iso88598e", "iso88598i", "logical", "visual"), "iso8859_8"),
    **dict.fromkeys(("iso88599", "latin5", "l5", "turkish"), "cp1254"),
    **dict.fromkeys(("latin6", "l6"), "iso8859_10"),
    **dict.fromkeys(("iso885911", "tis620", "tis6200", "windows874", "dos874", "thai"), "cp874"),
    **dict.fromkeys(("latin9", "l9", "latin0"), "iso8859_15"),
    **dict.fromkeys(("koi8", "koi", "cskoi8r"), "koi8_r"),
    "koi8ru": "koi8_u",
    **dict.fromkeys(("macintosh", "mac", "xmacroman"), "mac_roman"),
    **dict.fromkeys(("xmaccyrillic", "xmacukrainian"), "mac_cyrillic"),
    **dict.fromkeys(("utf8", "unicode11utf8", "utf8mb4", "xunicode20utf8", "cp65001", "utf8n"), "utf_8"),
    **dict.fromkeys(("unicode11utf7", "csunicode11utf7", "cp65000"), "utf_7"),
    **dict.fromkeys(("unicode", "ucs2", "iso10646ucs2", "utf16", "csunicode"), "utf_16"),
    **dict.fromkeys(("gb2312", "gbk", "gb", "cp936", "ms936", "euccn", "gb231280", "xgbk", "windows936"), "gb18030"),
    **dict.fromkeys(("chinese", "isoir58", "csgb2312", "csiso58gb231280", "gb180302000", "xeuccn"), "gb18030"),
    **dict.fromkeys(("hzgb2312", "hzgb"), "hz"),
    **dict.fromkeys(("big5", "big5tw", "cnbig5", "xxbig5", "csbig5", "cp950", "ms950", "big5eten"), "big5hkscs"),
    **dict.fromkeys(
        ("shiftjis", "sjis", "xsjis", "mskanji", "csshiftjis", "windows31j", "ms932", "windows932"), "cp932"
    ),
    **dict.fromkeys(("eucjp", "xeuc", "xeucjp", "ujis", "cseucpkdfmtjapanese"), "euc_jp"),
    **dict.fromkeys(("iso2022jp", "csiso2022jp", "iso2022jp1", "iso2022jp2", "jis", "cp50220"), "iso2022_jp_ext"),
    **dict.fromkeys(("euckr", "ksc5601", "ksc56011987", "ksc56011989", "ksx1001", "korean", "cseuckr"), "cp949"),
    **dict.fromkeys(("uhc", "ms949", "windows949", "isoir149", "ksc5601wansung", "xwindows949"), "cp949"),
    "csiso2022kr": "iso2022_kr",
}
# Seven-bit encodings: bytes above 127 in them mean that the label is wrong.
_SEVEN_BIT: Final = frozenset({"utf_7", "hz", "iso2022_jp_ext", "iso2022_jp_2004", "iso2022_kr"})
_WIDE: Final = frozenset({"utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"})
_MULTIBYTE: Final = frozenset(_MULTI)
_EBCDIC: Final = frozenset({"cp037", "cp500", "cp1140"})


def codec_name(label: str) -> str | None:
    """The Python codec that reads `label` best, or None for a label that names nothing (RFC 2978, WHATWG)."""
    return _named(label[:64])


def decode(raw: bytes, label: str = "", hint: str = "") -> str:
    """Text of `raw`, never failing: what cannot be read becomes U+FFFD; NULs go, lone surrogates become U+FFFD.

    `label` is what the sender declared; `hint` is what the rest of the mail declared, used where `label` is silent.
    A label that the bytes contradict loses to UTF-8 that the bytes prove.
    """
    name = _named(label[:64]) if label else None
    if raw.isascii() and name not in _SEVEN_BIT and name not in _WIDE and name not in _EBCDIC:
        return raw.decode("ascii").replace("\0", "")
    return storable(_decode_high(raw, name or (_named(hint[:64]) if hint else None)))


def storable(text: str) -> str:
    """`text` without what PostgreSQL's text and jsonb refuse: no NUL, no lone surrogate."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def cut(raw: bytes, size: int) -> bytes:
    """The first `size` bytes, less a UTF-8 character that the cut would halve."""
    if len(raw) <= size:
        return raw
    end = size
    while end > size - 4 and raw[end] & 0xC0 == 0x80:
        end -= 1
    return raw[:end]


@lru_cache(maxsize=512)
def _named(label: str) -> str | None:
    plain = _LABEL_NOISE.sub("", label.lower().split("*", 1)[0])
    return _ALIASES.get(plain) or _ALIASES.get(plain.removeprefix("cs")) or _ALIASES.get(plain.removeprefix("x"))


def _decode_high(raw: bytes, name: str | None) -> str:
    if raw.startswith(codecs.BOM_UTF8):
        return raw[3:].decode("utf-8", "replace")
    if name in _WIDE:
        return raw.decode(name, "replace")
    if name in _MULTIBYTE and name != "utf_8" and not (name in _SEVEN_BIT and not raw.isascii()):
        return _declared_first(raw, name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return _not_utf8(raw, None if name in _SEVEN_BIT else name)


def _declared_first(raw: bytes, name: str) -> str:
    """Two-byte encodings can look like UTF-8 by accident (the GBK text 联通 does), so the label is tried first."""
    try:
        return raw.decode(name)
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(name, "replace")


def _not_utf8(raw: bytes, name: str | None) -> str:
    """Bytes that are no UTF-8: as declared; declared as UTF-8 or nothing, whichever of two readings loses less."""
    if name is not None and name != "utf_8":
        return raw.decode(name, "replace")
    text = raw.decode("utf-8", "replace")
    broken = text.count("�")
    proven = len(text) - len(text.encode("ascii", "ignore")) - broken
    return text if proven > broken else raw.decode("cp1252", "replace")
