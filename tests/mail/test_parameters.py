"""Content-Type and Content-Disposition values, and names to save files under."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail.mime_bounds import FILENAME_BYTES, PARAMETERS, Defects
from leasebox.mail.parameters import read_parameters, safe_filename


@pytest.mark.parametrize(
    ("value", "word", "parameters"),
    [
        (b"", "", {}),
        (b"Text/HTML; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        (b'text/plain; charset="utf-8" ; format=flowed', "text/plain", {"charset": "utf-8", "format": "flowed"}),
        (b"multipart/mixed\tboundary=x", "multipart/mixed", {"boundary": "x"}),
        (b"text", "text", {}),
        (b"; filename=a.png", "", {"filename": "a.png"}),
        (b'a/b; name="a\\"b;c"', "a/b", {"name": 'a"b;c'}),
        (b'a/b; name="C:\\dir\\x.png"', "a/b", {"name": "C:\\dir\\x.png"}),
        (b"a/b; name=my file.pdf; x=1", "a/b", {"name": "my file.pdf", "x": "1"}),
        (b'a/b; name="open', "a/b", {"name": "open"}),
        (b"a/b; junk; =x; name=y", "a/b", {"name": "y"}),
        (b"a/b; name==?utf-8?q?=C3=A9?=", "a/b", {"name": "é"}),
        (b"a/b; name*=utf-8'en'%C3%A9%20x", "a/b", {"name": "é x"}),
        (b"a/b; name=plain; name*=utf-8''star", "a/b", {"name": "star"}),
        (b"a/b; name*=%C3%A9", "a/b", {"name": "é"}),
        (b"a/b; name*1=b; name*0=a; name*2*=%63", "a/b", {"name": "abc"}),
        (b"a/b; name*0*=iso-8859-1''%E9; name*1=x", "a/b", {"name": "éx"}),
        ("a/b; name=é".encode("latin-1"), "a/b", {"name": "é"}),
    ],
)
def test_values(value: bytes, word: str, parameters: dict[str, str]) -> None:
    assert read_parameters(value, "", Defects()) == (word, parameters)


@pytest.mark.parametrize(
    ("value", "defect"),
    [(b"a/b" + b";x=1" * (PARAMETERS + 1), "parameters_over"), (b"a/b; x=" + b"y" * 20_000, "field_cut")],
)
def test_floods_are_cut(value: bytes, defect: str) -> None:
    defects = Defects()
    word, found = read_parameters(value, "", defects)
    assert (word, set(found), defects.words()) == ("a/b", {"x"}, (defect,))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\TEMP\\nsmail.png", "nsmail.png"),
        ("/", "attachment-2.png"),
        ("", "attachment-2.png"),
        ("..", "attachment-2.png"),
        ("a\x00b\nc.txt", "abc.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ('a<b>c:"d|e?f*.txt', "a_b_c__d_e_f_.txt"),
        ("  .hidden. ", "hidden"),
        ("e\u0301.txt", "é.txt"),
    ],
)
def test_names_to_save_under(name: str, safe: str) -> None:
    assert safe_filename(name, "image/png", "2") == safe


@given(st.text(max_size=400))
def test_any_name_is_made_safe(name: str) -> None:
    safe = safe_filename(name, "image/png", "1.2")
    assert 0 < len(safe.encode("utf-8", "surrogatepass")) <= FILENAME_BYTES
    assert not set('/\\<>:"|?*\0\n') & set(safe)
    assert safe.isprintable() or not safe.isascii()


def test_long_names_keep_their_extension() -> None:
    assert safe_filename("é" * 300 + ".pdf", "application/pdf", "1").endswith("é.pdf")


@given(st.binary(max_size=300))
def test_any_value_is_read(value: bytes) -> None:
    word, found = read_parameters(value, "", Defects())
    assert word == word.lower()
    assert all(name == name.lower() for name in found)
