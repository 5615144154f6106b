"""Whole mails: what they say, what they cost, and that nothing in them can hurt."""

import base64
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail.mime import ParsedMail, attachment, attachments, parse, salvage
from leasebox.mail.mime_bounds import ADDRESSES, HEADERS, HTML_BYTES, PARTS, SUBJECT_CHARS, TEXT_BYTES

CORPUS = Path(__file__).parents[1] / "corpus" / "mime"
VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "eml"
HARE = "The Hare and the Tortoise"
FROGS = "Die Hasen und die Frösche"
OUTLOOK, NETSCAPE = "Microsoft Outlook 00", "Netscape Communicator 4.7"
CPU_CAP_S = 2.0


def vector(name: str) -> bytes:
    path = VECTORS / f"{name}.eml"
    if not path.is_file():
        pytest.skip("the shared mail vectors are absent")
    return path.read_bytes()


def corpus(name: str) -> ParsedMail:
    return parse((CORPUS / f"{name}.eml").read_bytes())


def storable(mail: ParsedMail) -> bool:
    text = msgspec.json.encode(mail).decode()
    return "\\u0000" not in text and "\0" not in text


@pytest.mark.parametrize(
    ("name", "subject", "text", "files"),
    [
        ("000", f"Test message from {OUTLOOK}", "", ["redball.png"]),
        ("001", f"{FROGS} ({OUTLOOK})", FROGS, []),
        ("002", FROGS, FROGS, []),
        ("003", FROGS, FROGS, []),
        ("004", HARE, HARE, []),
        ("006", f"Test message from {OUTLOOK}", "", ["blueball.png", "redball.png"]),
        ("008", f"Test message from {OUTLOOK}", HARE, ["blueball.png", "greenball.png", "redball.png"]),
        ("009", FROGS, FROGS, []),
        ("010", FROGS, FROGS, []),
        ("013", f"{FROGS} ({OUTLOOK})", FROGS, []),
        ("014", f"Test message from {OUTLOOK}", HARE, []),
        ("015", FROGS, FROGS, ["2aa3ed95.png", "2aa3edd1.png", "blueball.png", "greenball.png"]),
        ("016", FROGS, FROGS, ["blueball.png", "HasenundFrösche.txt"]),
        ("017", HARE, HARE, ["greenball.png", "blueball.png"]),
        ("018", FROGS, FROGS, ["blueball.png", "redball.png"]),
        ("019", f"Test message from {OUTLOOK}", HARE, ["greenball.png", "redball.png"]),
        ("021", f"Test message from {OUTLOOK}", HARE, ["blueball.png", "greenball.png", "redball.png"]),
        ("022", f"{FROGS} ({OUTLOOK})", FROGS, []),
        ("023", FROGS, FROGS, ["blueball.png", "farmerandstork.txt", "HasenundFrösche.txt"]),
        ("026", FROGS, FROGS, ["HasenundFrösche.txt", "farmerandstork.txt"]),
        ("030", f"Test message from {NETSCAPE}", HARE, ["blueball.png", "greenball.png", "hareandtoroise.txt"]),
        ("031", "Test message from PINE", "This is a test message from PINE MUA.", ["redball.png", "blueball.png"]),
        ("032", f"Test message from {NETSCAPE}", FROGS, ["greenball.png", "blueball.png"]),
        ("033", f"Test message from {NETSCAPE}", FROGS, []),
        (
            "035",
            f"{FROGS} (Netscape Messenger 4.7)",
            FROGS,
            ["nsmailEG.png", "nsmail39.png", "redball.png", "greenball.png"],
        ),
        ("036", FROGS, FROGS, []),
        ("041", "PNG graphic", "", ["redball.png"]),
        ("043", f"{FROGS} ({NETSCAPE})", FROGS, []),
        ("045", FROGS, "", ["HasenundFrösche.txt"]),
        ("047", f"Test message from {NETSCAPE}", HARE, ["HasenundFrösche.txt"]),
        ("049", f"Test message from {OUTLOOK}", HARE, []),
        ("051", FROGS, FROGS, ["2aa5e03a.png", "2aa5e044.png", "blueball.png", "greenball.png"]),
        ("052", f"{FROGS} ({OUTLOOK})", FROGS, []),
        ("053", f"{FROGS} ({OUTLOOK})", FROGS, []),
    ],
)
def test_legacy_vectors_as_read_by_eye(name: str, subject: str, text: str, files: list[str]) -> None:
    mail = parse(vector(f"legacy/{name}"))
    assert mail.subject == subject
    assert text in mail.text
    assert bool(mail.text) is bool(text)
    assert [one.filename for one in mail.attachments] == files
    assert mail.sender_name == "Doug Sauder"


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("001", [("Joe Blow", "jblow@example.com"), ("Jürgen Schmürgen", "schmuergen@example.com")]),
        ("007", [("Jürgen Schmürgen", "schmuergen@example.com")]),
        ("009", [("Jürgen Schmürgen", "jschmuergen@example.com")]),
        ("010", [("Heinz Müller", "mueller@example.com")]),
        ("017", [("Jürgen Schmürgen", "jschmuergen@example.com")]),
        ("039", [("Jürgen Schmürgen", "schmuergen@example.com")]),
        ("045", [("Joe Blow", "blow@example.com"), ("Heinz Müller", "mueller@example.com")]),
    ],
)
def test_legacy_recipients(name: str, to: list[tuple[str, str]]) -> None:
    assert [(one.name, one.address) for one in parse(vector(f"legacy/{name}")).to] == to


@pytest.mark.parametrize(
    ("name", "text", "files"),
    [
        (
            "rfc/000",
            "... Some text appears here ...",
            ["attachment-3.1", "attachment-3.2.jpg", "attachment-4", "attachment-5.eml"],
        ),
        ("rfc/002", "Fire up Air Force One!", ["attachment-2.eml"]),
        ("rfc/005", "It does NOT end with a linebreak.\nThis is explicitly", []),
        ("rfc/008", "base64 encoded attached email", ["attached_email.eml"]),
        ("rfc/009", "Hello", ["attachment-2.eml"]),
        ("malformed/002", "body", []),
        ("malformed/006", "body", []),
        ("malformed/008", "body\nbody2", []),
        ("malformed/013", "hello, world", []),
        ("malformed/015", "There was a day \na happy day", ["signature.asc"]),
        ("malformed/017", "", ["image001.png"]),
        ("malformed/018", "BlackBerry® de Vodafone", []),
        ("malformed/020", "HTML Body", ["attachment-2.png"]),
        ("malformed/021", "áóúäöüß", ["attachment-2.png"]),
        ("malformed/022", "hello", ["broken.eml"]),
    ],
)
def test_other_vectors(name: str, text: str, files: list[str]) -> None:
    mail = parse(vector(name))
    assert text in mail.text
    assert [one.filename for one in mail.attachments] == files


def test_every_vector_is_parsed_whatever_its_line_ends() -> None:
    if not VECTORS.is_dir():
        pytest.skip("the shared mail vectors are absent")
    paths = sorted(VECTORS.rglob("*.eml"))
    assert len(paths) >= 80
    for path in paths:
        raw = path.read_bytes()
        bare = raw.replace(b"\r\n", b"\n")
        mail, twin = parse(raw), parse(bare.replace(b"\n", b"\r\n"))
        assert mail.outcome == "parsed", path.name
        assert (mail.subject, mail.text, mail.to) == (twin.subject, twin.text, twin.to), path.name
        assert parse(bare).text == mail.text, path.name
        assert storable(mail), path.name
        for listed in mail.attachments:
            found = attachment(raw, listed.index)
            assert found is not None, path.name
            assert (found.filename, len(found.content)) == (listed.filename, listed.size_bytes), path.name


CODE = "Your code is 482913"


@pytest.mark.parametrize(
    ("name", "subject", "text"),
    [
        ("words-joined", "Prüfung today", "x"),
        ("words-unpadded", "Ihr Code lautet 4711", "x"),
        ("words-split-base64", "verification", "x"),
        ("words-question-marks", "Is it you? Code 12ä", "x"),
        ("subject-raw-latin1", "Bestätigung", "grüße"),
        ("subject-raw-cyrillic", "Код", "Код 1234"),
        ("charset-lies-utf8", "x", "Überprüfung: 1234"),
        ("charset-gb2312-beyond", "验证码镕", "您的验证码是：482913 喆"),
        ("charset-ks-c-5601", "인증번호 똠", "인증번호는 482913"),
        ("charset-x-sjis", "確認コード①", "コードは482913"),
        ("charset-iso-2022-jp", "認証コード", "コードは482913です"),
        ("charset-unknown-8bit", "café", "café and code 1234"),
        ("charset-nonsense", "code 1234", "naïve 1234"),
        ("html-meta-charset", "x", "Ваш код 482913"),
        ("base64-is-text", "x", f"{CODE}."),
        ("base64-footer", "x", CODE),
        ("base64-glued", "x", f"{CODE}."),
        ("qp-blanks", "x", f"{CODE}. =ZZ"),
        ("boundary-spaced", "x", CODE),
        ("boundary-unclosed", "x", CODE),
        ("boundary-undeclared", "x", CODE),
        ("type-text", "x", CODE),
        ("type-commented", "x", "Код 482913"),
        ("flowed", "x", "Your verification code is 482913.\n> quotedline\n> > deeper\nFrom here\n-- \nsig"),
        ("forwarded", "Fwd: x", "see below"),
        ("winmail", "x", CODE),
        ("amp", "x", CODE),
        ("plain-empty", "x", CODE),
        ("nul-and-surrogates", "a\ufffdbcd Bcc: x", "onetwo \ufffd three"),
        ("mbox", "Your code", "482913"),
        ("auto-reply", "Away", "away"),
    ],
)
def test_odd_mails_say_what_they_mean(name: str, subject: str, text: str) -> None:
    mail = corpus(name)
    assert (mail.outcome, mail.subject, mail.text) == ("parsed", subject, text)
    assert mail.sender == ("no-reply@acme.example")
    assert storable(mail)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("filename-2231", ["Rechnung für Mai.pdf"]),
        ("filename-hostile", ["pass wd", "invoicefdp.exe", "attachment-4.png", "a_b_.txt"]),
        ("forwarded", ["attachment-2.eml"]),
        ("winmail", ["winmail.dat"]),
        ("boundary-spaced", ["terms.pdf"]),
        ("amp", []),
    ],
)
def test_odd_attachments(name: str, files: list[str]) -> None:
    assert [one.filename for one in corpus(name).attachments] == files


def test_every_mail_of_the_corpus_is_asserted_somewhere() -> None:
    here = Path(__file__).read_text()
    assert [path.stem for path in CORPUS.glob("*.eml") if f'"{path.stem}"' not in here] == []


def test_what_a_bad_end_of_base64_hides_is_little() -> None:
    assert corpus("base64-odd").text.startswith(CODE)


def test_fields_of_a_reply() -> None:
    mail = corpus("auto-reply")
    assert mail.date == datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)
    assert (mail.message_id, mail.in_reply_to) == ("<two@acme.example>", "<one@acme.example>")
    assert mail.references == ("<zero@acme.example>", "<one@acme.example>")
    assert mail.is_auto_submitted
    assert ("From", "Acme <no-reply@acme.example>") in mail.headers
    assert (mail.sender_name, mail.sender_domain, mail.preview) == ("Acme", "acme.example", "away")


@pytest.mark.parametrize(
    ("head", "auto"),
    [
        (b"", False),
        (b"Auto-Submitted: no\n", False),
        (b"Auto-Submitted: auto-generated\n", True),
        (b"Precedence: auto_reply\n", True),
        (b"Precedence: bulk\n", False),
        (b"X-Autoreply: yes\n", True),
    ],
)
def test_who_answers_by_machine(head: bytes, auto: bool) -> None:
    assert parse(head + b"\nbody").is_auto_submitted is auto


@pytest.mark.parametrize(
    ("head", "sender", "name"),
    [
        (b"From: Joe <joe@x.example>\nSender: s@x.example", "joe@x.example", "Joe"),
        (b"From: Joe\nSender: Sam <s@x.example>", "s@x.example", "Sam"),
        (b"From: Joe", "", "Joe"),
        (b"Sender: s@x.example", "s@x.example", ""),
        (b"Subject: none", "", ""),
        (b"From: a@x.example, b@y.example", "a@x.example", ""),
    ],
)
def test_senders(head: bytes, sender: str, name: str) -> None:
    mail = parse(head + b"\n\nbody")
    assert (mail.sender, mail.sender_name) == (sender, name)


def test_two_from_fields_are_told() -> None:
    mail = parse(b"From: a@x.example\nFrom: b@y.example\n\nbody")
    assert (mail.sender, mail.defects) == ("a@x.example", ("from_repeated",))


def test_repeated_recipients_are_joined_and_names_alone_left_out() -> None:
    mail = parse(b"To: a@x.example\nTo: Friends\nTo: b@x.example\nCc: c@x.example\nReply-To: d@x.example\n\n")
    assert [one.address for one in mail.to] == ["a@x.example", "b@x.example"]
    assert (mail.cc[0].address, mail.reply_to[0].address) == ("c@x.example", "d@x.example")


def test_html_is_kept_as_delivered_and_quotes_stay_quotes() -> None:
    page = "<p>New code&nbsp;482913</p>\r\n<blockquote>old 111111</blockquote>"
    mail = parse(f"Content-Type: text/html\r\n\r\n{page}".encode())
    assert mail.html == page
    assert mail.text_from == "html"
    assert mail.text.split("\n")[-1] == "> old 111111"
    assert "482913" in mail.text.split("\n")[0]


def test_previews_are_one_line_without_padding() -> None:
    mail = parse("Subject: x\n\n Code  482913\n\n\u200b\u034f\u00ad  is\tyours ".encode() + b"x" * 500)
    assert mail.preview.startswith("Code 482913 is yours xxx")
    assert len(mail.preview) == 140


def test_an_attachment_nobody_listed_is_none() -> None:
    assert attachment(b"Subject: x\n\nbody", "1") is None
    assert attachment(b"Content-Type: image/png\n\nbody", "2") is None


def test_salvage_keeps_the_head() -> None:
    mail = salvage(b"From: Joe <joe@x.example>\nSubject: hi\n\nbody", "parser_died")
    assert (mail.outcome, mail.subject, mail.sender, mail.text) == ("failed", "hi", "joe@x.example", "")
    assert mail.defects == ("parser_died",)
    assert salvage(b"Subject: " + b"x" * 1_000_000, "parser_died").outcome == "failed"


MIB = 1 << 20
HEAD = b"From: joe@x.example\r\nSubject: hi\r\n"
CODED = b"\r\n\r\nYour code is 482913\r\n"
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
TEXT = HEAD + b"Content-Type: text/plain; charset=utf-8"
NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(2000))
PAGE = HEAD + b"Content-Type: text/html\r\n\r\n"
BASE64 = b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
PRINTABLE = b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
BOMBS: dict[str, Callable[[], bytes]] = {
    "to-of-40k-quotes": lambda: HEAD + b"To: " + b'"' * 40_000 + CODED,
    "to-of-backslashed-quotes": lambda: HEAD + b'To: "' + b'\\"' * 30_000 + CODED,
    "20k-addresses": lambda: (
        HEAD + b"To: " + b", ".join(b"U %d <u%d@x.example>" % (n, n) for n in range(20_000)) + CODED
    ),
    "20k-to-fields": lambda: HEAD + b"".join(b"To: u%d@x.example\r\n" % n for n in range(20_000)) + CODED,
    "nested-comments": lambda: HEAD + b"To: " + b"(" * 30_000 + CODED,
    "closed-comments": lambda: HEAD + b"To: " + b"(" * 900 + b")" * 900 + b" b@x.example" + CODED,
    "20k-2231-parameters": lambda: (
        HEAD + b"Content-Type: text/plain; " + b"; ".join(b"name*%d*=utf-8''x" % n for n in range(20_000)) + CODED
    ),
    "20k-dispositions": lambda: (
        HEAD + b"Content-Disposition: attachment; " + b"; ".join(b"filename*%d=x" % n for n in range(20_000)) + CODED
    ),
    "200k-semicolons": lambda: TEXT + b";" * 200_000 + CODED,
    "200k-blanks-in-a-type": lambda: TEXT + b"; a" + b" " * 200_000 + CODED,
    "500-kb-subject": lambda: b"From: joe@x.example\r\nSubject: " + b"hi " * 170_000 + CODED,
    "subject-of-words": lambda: b"From: joe@x.example\r\nSubject: hi " + b"=?utf-8?q?a?= " * 40_000 + CODED,
    "subject-of-openings": lambda: b"From: joe@x.example\r\nSubject: hi " + b"=?a?q?x?y" * 40_000 + CODED,
    "1000-fields-of-words": lambda: (
        HEAD + b"".join(b"X-%d: %b\r\n" % (n, b"=?utf-8?q?a?= " * 20) for n in range(1500)) + CODED
    ),
    "2-mb-field": lambda: HEAD + b"X-Big: " + b"y" * (2 * MIB) + CODED,
    "200k-fields": lambda: HEAD + b"X: y\r\n" * 200_000 + CODED,
    "100k-folds": lambda: HEAD + b"X: y\r\n" + b" \r\n" * 100_000 + CODED,
    "50k-references": lambda: HEAD + b"References: " + b"<a@b> " * 50_000 + CODED,
    "10k-parts": lambda: MIXED + b"".join(b"--x\r\n\r\nYour code is 482913\r\n" for _ in range(10_000)) + b"--x--\r\n",
    "600-parts-of-header": lambda: MIXED + (b"--x\r\nA: b\r\n" + b" \r\n" * 5_000 + CODED) * 600,
    "500-names": lambda: (
        MIXED + (b"--x\r\nContent-Type: a/b;" + b";".join(b"name*%d=aaaa" % n for n in range(190)) + CODED) * 499
    ),
    "2000-deep": lambda: HEAD + NESTED + b"\r\nYour code is 482913",
    "25-mb-of-line-ends": lambda: MIXED + b"\n" * (25 * MIB),
    "25-mb-like-delimiters": lambda: MIXED + b"--xy\n" * (5 * MIB),
    "24-mb-deep": lambda: HEAD + NESTED[:1000] + b"\n--b" * (6 * MIB),
    "25-mb-base64": lambda: HEAD + b"Content-Type: a/b" + BASE64 + (b"QUFB" * 19 + b"\r\n") * (25 * MIB // 78),
    "24-mb-glued-base64": lambda: HEAD + b"Content-Type: a/b" + BASE64 + b"QQ==\r\n" * (4 * MIB),
    "24-mb-printable": lambda: HEAD + b"Content-Type: a/b" + PRINTABLE + b"=41= \n" * (4 * MIB),
    "24-mb-uuencode": lambda: (
        HEAD
        + b"Content-Type: a/b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 600 x\n"
        + b"#0V%T\n" * (4 * MIB)
    ),
    "25-mb-text": lambda: TEXT + b"\r\n\r\n" + b"hello world 123\r\n" * (25 * MIB // 17),
    "24-mb-flowed": lambda: TEXT + b"; format=flowed\r\n\r\n" + b"> a \r\n" * (4 * MIB),
    "8-mb-utf-7": lambda: HEAD + b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+AGEAYQ-" * MIB,
    "html-of-open-tags": lambda: PAGE + b"<div>" * 400_000,
    "html-of-angles": lambda: PAGE + b"<" * (2 * MIB),
    "html-of-attributes": lambda: PAGE + b"<p " + b"a=1 " * 400_000,
    "html-of-metas": lambda: PAGE + b"<meta " * 300_000,
    "noise": lambda: random.Random(20).randbytes(2 * MIB),
}


@pytest.mark.parametrize("name", BOMBS)
def test_mailbombs_cost_little(name: str) -> None:
    raw = BOMBS[name]()
    started = time.process_time()
    mail = parse(raw)
    assert time.process_time() - started < CPU_CAP_S
    if name != "noise":
        assert (mail.sender, mail.subject[:2]) == ("joe@x.example", "hi")
    assert len(mail.subject) <= SUBJECT_CHARS
    assert len(mail.to) <= ADDRESSES
    assert len(mail.headers) <= HEADERS
    assert len(mail.attachments) <= PARTS
    assert len(mail.text.encode()) <= 3 * TEXT_BYTES
    assert len(mail.html or "") <= HTML_BYTES
    assert storable(mail)


@pytest.mark.parametrize(
    ("name", "outcome", "defect"),
    [
        ("to-of-40k-quotes", "parsed", None),
        ("20k-addresses", "parsed", "addresses_over"),
        ("20k-2231-parameters", "parsed", "parameters_over"),
        ("500-kb-subject", "parsed", "subject_cut"),
        ("2-mb-field", "parsed", "header_bytes_over"),
        ("200k-fields", "parsed", "headers_over"),
        ("10k-parts", "parsed", "too_many_parts"),
        ("2000-deep", "failed", "too_deep"),
        ("25-mb-like-delimiters", "parsed", "too_many_delimiters"),
        ("25-mb-text", "parsed", "text_cut"),
        ("html-of-open-tags", "parsed", "html_cut"),
    ],
)
def test_mailbombs_say_what_was_cut(name: str, outcome: str, defect: str | None) -> None:
    mail = parse(BOMBS[name]())
    assert mail.outcome == outcome
    assert defect is None or defect in mail.defects


@pytest.mark.parametrize(
    "name",
    [
        "to-of-40k-quotes",
        "nested-comments",
        "2-mb-field",
        "200k-fields",
        "20k-2231-parameters",
        "500-kb-subject",
        "10k-parts",
    ],
)
def test_the_code_survives_the_bomb_around_it(name: str) -> None:
    assert "Your code is 482913" in parse(BOMBS[name]()).text


def test_big_attachments_are_listed_and_fetched_whole() -> None:
    content = random.Random(5).randbytes(5 * MIB)
    part = (
        b"--x\r\nContent-Type: application/pdf; name=a.pdf"
        + BASE64
        + base64.encodebytes(content).replace(b"\n", b"\r\n")
    )
    raw = MIXED + b"--x\r\n\r\nsee file\r\n" + part + b"--x--\r\n"
    mail = parse(raw)
    assert [(one.index, one.filename, one.size_bytes) for one in mail.attachments] == [("2", "a.pdf", 5 * MIB)]
    found = attachment(raw, "2")
    assert found is not None
    assert found.content == content
    assert attachments(raw) == [(mail.attachments[0], content)]


PIECES = [
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"--x\r\n",
    b"--x--",
    b"Content-Type: multipart/mixed; boundary=x\r\n",
    b"Content-Type: text/html\r\n",
    b"Content-Type: text/plain; charset=utf-7; format=flowed\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''%C3",
    b"From: ",
    b"To: (",
    b"<a@b>",
    b'"',
    b"=?utf-8?b?",
    b"?=",
    b"w6k=",
    b"<p>&#0;&#xD800;",
    b"\x00\xff\xc3",
    b"+2AA-",
    b" ",
    b"text",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=40))
def test_no_bytes_make_it_raise(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    mail = parse(raw)
    assert storable(mail)
    for listed in mail.attachments:
        assert attachment(raw, listed.index) is not None
    assert salvage(raw, "x").outcome == "failed"


def test_no_damage_to_a_vector_makes_it_raise() -> None:
    sources = [path.read_bytes() for path in sorted(CORPUS.glob("*.eml"))]
    dice = random.Random(7)
    for _ in range(1500):
        raw = bytearray(dice.choice(sources))
        for _ in range(dice.randrange(1, 8)):
            at = dice.randrange(len(raw))
            raw[at : at + dice.randrange(4)] = dice.choice(PIECES)
        mail = parse(bytes(raw))
        assert storable(mail)
