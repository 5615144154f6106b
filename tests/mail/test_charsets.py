"""Labels, repairs, and what may reach PostgreSQL."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail.charsets import codec_name, cut, decode, storable


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("UTF-8", "utf_8"),
        ('"utf8"', "utf_8"),
        ("us-ascii", "cp1252"),
        ("ISO-8859-1", "cp1252"),
        ("latin1", "cp1252"),
        ("iso_8859-15", "iso8859_15"),
        ("gb2312", "gb18030"),
        ("GBK", "gb18030"),
        ("x-sjis", "cp932"),
        ("Shift_JIS", "cp932"),
        ("ks_c_5601-1987", "cp949"),
        ("euc-kr", "cp949"),
        ("windows-1251", "cp1251"),
        ("x-cp1251", "cp1251"),
        ("iso-8859-8-i", "iso8859_8"),
        ("utf-8*en", "utf_8"),
        ("big5", "big5hkscs"),
        ("tis-620", "cp874"),
    ],
)
def test_labels_name_the_widest_codec(label: str, codec: str) -> None:
    assert codec_name(label) == codec


@pytest.mark.parametrize(
    "label", ["punycode", "idna", "zlib", "unicode_escape", "undefined", "../x", "unknown-8bit", ""]
)
def test_what_is_not_on_the_list_is_no_charset(label: str) -> None:
    assert codec_name(label) is None


def test_every_codec_on_the_list_exists() -> None:
    for label in (
        "koi8-u",
        "kz1048",
        "ptcp154",
        "hp-roman8",
        "johab",
        "euc-jis-2004",
        "iso-2022-kr",
        "cp037",
        "hz-gb-2312",
    ):
        name = codec_name(label)
        assert name is not None
        assert codecs.lookup(name).name


@pytest.mark.parametrize(
    ("raw", "label", "hint", "text"),
    [
        ("naïve".encode(), "iso-8859-1", "", "naïve"),
        ("naïve".encode(), "us-ascii", "", "naïve"),
        ("naïve".encode(), "", "", "naïve"),
        (b"na\xefve", "utf-8", "", "naïve"),
        (b"na\xefve", "", "", "naïve"),
        (b"\x93quoted\x94", "iso-8859-1", "", "“quoted”"),
        ("Код".encode("cp1251"), "", "windows-1251", "Код"),
        ("Код".encode("koi8-r"), "koi8-r", "", "Код"),
        ("联通".encode("gbk"), "gb2312", "", "联通"),
        ("联通".encode(), "gb2312", "", "联通"),
        ("日本語".encode(), "iso-2022-jp", "", "日本語"),
        ("日本語".encode("iso2022_jp"), "iso-2022-jp", "", "日本語"),
        (b"\xef\xbb\xbfcode", "iso-8859-1", "", "code"),
        ("code".encode("utf-16"), "utf-16", "", "code"),
        (b"caf\xc3\xa9 caf\xc3\xa9 \xff", "utf-8", "", "café café \ufffd"),
        (b"co\x00de", "us-ascii", "", "code"),
        (b"a+2AA-b", "utf-7", "", "a\ufffdb"),
    ],
)
def test_bytes_are_read_as_they_were_meant(raw: bytes, label: str, hint: str, text: str) -> None:
    assert decode(raw, label, hint) == text


@given(
    st.binary(max_size=200), st.sampled_from(["", "utf-8", "utf-7", "utf-16", "gb2312", "hz", "iso-2022-kr", "cp037"])
)
def test_any_bytes_make_text_that_can_be_stored(raw: bytes, label: str) -> None:
    text = decode(raw, label)
    assert "\0" not in text
    assert text.encode().decode() == text


def test_surrogates_in_pairs_are_the_character_they_mean() -> None:
    assert storable("a\ud83d\ude00\0b\udc00") == "a😀b\ufffd"


@pytest.mark.parametrize(("size", "kept"), [(3, "ab"), (4, "abé"), (9, "abé")])
def test_a_cut_halves_no_character(size: int, kept: str) -> None:
    assert cut("abé".encode(), size).decode() == kept
