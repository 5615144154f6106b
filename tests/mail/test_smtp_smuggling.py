"""Attack: SMTP smuggling. Whatever a sender puts into one mail, it never becomes two, nor a command."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mail.smtp_house import converse

OPEN = b"EHLO c\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<ann@inbox.example>\r\n"
SMUGGLED = b"MAIL FROM:<boss@bank.example>\r\nRCPT TO:<bob@inbox.example>\r\nDATA\r\nSubject: smuggled\r\n\r\npay\r\n"
NO_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\n\n.\n\n",
    b"\r\n\x00.\r\n",
    b"\r\n.\x00\r\n",
    b"\r\n\x00.\x00\r\n",
    b"\x00\r\n.\x00\r\n",
    b"\r\n.\x00\n",
    b"\r\x00\n.\r\n",
    b"\r\n. \r\n",
    b"\r\n .\r\n",
    b"\r\n.\t\r\n",
    b"\r\n..\r\n",
    b"\r\n.\x0b\n",
    b"\r\n.\x0c\r\n",
    b"\r\n.\xc2\x85",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\r\n.=0D=0A",
    b"%0d%0a.%0d%0a",
]


@pytest.mark.parametrize("fake_end", NO_ENDS)
def test_only_crlf_dot_crlf_ends_data(fake_end: bytes) -> None:
    said = OPEN + b"DATA\r\nSubject: x\r\n\r\nhello" + fake_end + SMUGGLED + b".\r\nNOOP\r\n"
    for pieces in ([said], [bytes([octet]) for octet in said]):
        dialogue = converse(pieces)
        bare = fake_end.count(b"\r\n") != fake_end.count(b"\n") or fake_end.count(b"\r\n") != fake_end.count(b"\r")
        answer = "550/5.6.11" if bare else "250/2.0.0"
        assert dialogue.codes == f"220 250 250/2.1.0 250/2.1.5 354 {answer} 250/2.0.0"
        assert [mail.mail.sender for mail in dialogue.mails] == ([] if bare else ["a@sender.example"])


@pytest.mark.parametrize("fake_end", NO_ENDS)
def test_a_chunk_is_as_long_as_it_says(fake_end: bytes) -> None:
    content = b"hello" + fake_end + b"\r\n.\r\n" + SMUGGLED
    for said in (b"BDAT %d LAST\r\n%b" % (len(content), content), _in_chunks(content)):
        dialogue = converse([OPEN + said + b"NOOP\r\n"])
        assert len(dialogue.mails) <= 1
        assert all(mail.content == content for mail in dialogue.mails)
        assert dialogue.codes.split()[-2] in {"250/2.0.0", "550/5.6.11"}
        assert dialogue.codes.split()[-1] == "250/2.0.0"


def _in_chunks(content: bytes) -> bytes:
    """Cut at every seventh octet, so that ends and line breaks are torn apart."""
    cut = [content[start : start + 7] for start in range(0, len(content), 7)]
    return b"".join(b"BDAT %d\r\n%b" % (len(piece), piece) for piece in cut) + b"BDAT 0 LAST\r\n"


def test_bdat_and_data_do_not_mix() -> None:
    said = OPEN + b"BDAT 5\r\nabc\r\nDATA\r\n"
    dialogue = converse([said + b"Subject: smuggled\r\n\r\nx\r\n.\r\n"])
    assert dialogue.codes == "220 250 250/2.1.0 250/2.1.5 250/2.0.0 503/5.5.1 421/4.7.0"
    assert dialogue.mails == []


def test_a_chunk_that_is_a_mail_of_its_own_is_not_read_as_commands() -> None:
    dialogue = converse([b"EHLO c\r\n" + b"BDAT %d LAST\r\n" % len(OPEN) + OPEN + b"DATA\r\n"])
    assert dialogue.codes == "220 250 503/5.5.1 503/5.5.1"


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\n\r", b"\r\r\n"])
def test_commands_do_not_hide_behind_bare_line_ends(line_end: bytes) -> None:
    dialogue = converse([OPEN.replace(b"\r\n", line_end) + b"DATA" + line_end])
    assert dialogue.mails == []
    assert set(dialogue.codes.split()) <= {"220", "500/5.5.2", "421/4.7.0"}


def test_crlf_in_an_address_does_not_come_through() -> None:
    for path in (b"<a\r\nDATA\r\n@x.example>", b'<"a\r\n.\r\n"@x.example>', b"<a@x.example\x00>", b"<a\n@x.example>"):
        dialogue = converse([b"EHLO c\r\nMAIL FROM:" + path + b"\r\n"])
        assert "250/2.1.0" not in dialogue.codes


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"\x00", b"a", b" ", b"\r\n", SMUGGLED]), max_size=30))
@settings(max_examples=500, deadline=None)
def test_a_mail_without_the_true_end_stays_open(parts: list[bytes]) -> None:
    content = b"".join(parts)
    if b"\r\n.\r\n" in b"\r\n" + content + b"\r\n.\r":
        return
    dialogue = converse([OPEN + b"DATA\r\n" + content])
    assert (dialogue.mails, dialogue.codes) == ([], "220 250 250/2.1.0 250/2.1.5 354")
