"""Which parts are text, HTML, attachments."""

from pathlib import Path

import pytest

from leasebox.mail.mime_bounds import Defects
from leasebox.mail.mime_layout import Layout
from leasebox.mail.mime_tree import Part, read_tree

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "eml"
PLAIN = "Content-Type: text/plain\r\n\r\nt"
HTML = "Content-Type: text/html\r\n\r\nh"
IMAGE = "Content-Type: image/png\r\n\r\ni"
NAMED = 'Content-Type: text/plain; name="a.txt"\r\n\r\nn'
ATTACHED = "Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\na"


def multi(kind: str, *parts: str, boundary: str = "x") -> str:
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f"Content-Type: multipart/{kind}; boundary={boundary}\r\n\r\n{body}--{boundary}--"


def inner(kind: str, *parts: str) -> str:
    return multi(kind, *parts, boundary="y")


def paths(parts: list[Part]) -> str:
    return " ".join(part.path for part in parts)


@pytest.mark.parametrize(
    ("mail", "text", "markup", "attachments"),
    [
        (PLAIN, "1", "1", ""),
        (HTML, "1", "1", ""),
        (IMAGE, "", "", "1"),
        (ATTACHED, "", "", "1"),
        (NAMED, "1", "1", ""),
        (multi("alternative", PLAIN, HTML), "1", "2", ""),
        (multi("alternative", HTML), "1", "1", ""),
        (multi("alternative", PLAIN), "1", "1", ""),
        (multi("alternative", PLAIN, HTML, IMAGE), "1", "2", "3"),
        (multi("alternative", PLAIN, inner("related", HTML, IMAGE)), "1", "2.1", "2.2"),
        (multi("alternative", PLAIN, inner("mixed", HTML, IMAGE, PLAIN)), "1", "2.1 2.3", "2.2"),
        (multi("related", HTML, PLAIN, IMAGE), "1", "1", "2 3"),
        (multi("related", HTML, NAMED), "1", "1", "2"),
        (multi("mixed", PLAIN, HTML, IMAGE), "1 2", "1 2", "3"),
        (multi("mixed", PLAIN, NAMED, ATTACHED), "1", "1", "2 3"),
        (multi("mixed", inner("alternative", PLAIN, HTML), ATTACHED), "1.1", "1.2", "2"),
        (multi("mixed", PLAIN, "Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nb"), "1", "1", "2"),
        (multi("alternative", PLAIN, "Content-Type: text/x-amp-html\r\n\r\na", HTML), "1", "3", ""),
    ],
)
def test_layouts(mail: str, text: str, markup: str, attachments: str) -> None:
    defects = Defects()
    layout = Layout(read_tree(mail.encode(), defects), defects)
    assert (paths(layout.text), paths(layout.markup), paths(layout.attachments)) == (text, markup, attachments)


def test_the_example_of_rfc_8621() -> None:
    """§4.1.4: text A B D K, HTML A E K, all else attached (C is listed too, since it has no place in a text)."""
    path = VECTORS / "rfc" / "007.eml"
    if not path.is_file():
        pytest.skip("the shared mail vectors are absent")
    raw, defects = path.read_bytes(), Defects()
    layout = Layout(read_tree(raw, defects), defects)
    bodies = ["".join(raw[part.start : part.end].decode().split()) for part in layout.text]
    assert bodies == ["A", "B", "D", "K"]
    assert paths(layout.markup) == "1 2.1.2.1 3"
    assert paths(layout.attachments) == "2.1.1.2 2.1.2.2 2.2 2.3 2.4"


def test_the_charset_is_the_first_declared() -> None:
    defects = Defects()
    mail = multi("mixed", PLAIN, "Content-Type: text/plain; charset=koi8-r\r\n\r\nt")
    assert Layout(read_tree(mail.encode(), defects), defects).charset == "koi8-r"
