"""What a worker reads and how it answers."""

import io
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from leasebox.mail import parse_worker
from leasebox.mail.parse_worker import NOTHING_FOUND, Reading, read, serve, unreadable

OTP = b"From: Acme <no-reply@acme.example>\r\nSubject: Your code\r\n\r\nYour verification code is 482913.\r\n"
LINK = "https://acme.example/verify?token=abcdefabcdef123456"
PAGE = (
    f'Content-Type: text/html\r\n\r\n<p>Your verification code is <b>482913</b></p><a href="{LINK}">Verify</a>'.encode()
)


@pytest.fixture(autouse=True)
def _timer() -> Iterator[None]:
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)


def answers(*mails: bytes) -> list[Reading]:
    jobs = io.BytesIO(b"".join(struct.pack("!I", len(mail)) + mail for mail in mails))
    out = io.BytesIO()
    serve(jobs, out, 60)
    found, rest = [], out.getvalue()
    while rest:
        size = struct.unpack("!I", rest[:4])[0]
        found.append(msgspec.msgpack.decode(rest[4 : 4 + size], type=Reading))
        rest = rest[4 + size :]
    return found


@pytest.mark.parametrize("raw", [OTP, PAGE])
def test_codes_are_read(raw: bytes) -> None:
    reading = read(raw)
    assert reading.mail.outcome == "parsed"
    assert reading.extraction.otp_code == "482913"
    assert len(reading.extraction.codes) == 1


def test_links_are_read() -> None:
    assert read(PAGE).extraction.verification_link == LINK


def test_failed_mails_are_not_searched() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(100))
    reading = read(b"Subject: code 482913\r\n" + deep)
    assert (reading.mail.outcome, reading.mail.subject, reading.extraction) == ("failed", "code 482913", NOTHING_FOUND)


def test_answers_are_what_was_read() -> None:
    assert answers(OTP, b"", PAGE) == [read(OTP), read(b""), read(PAGE)]


def test_half_a_frame_ends_the_service() -> None:
    out = io.BytesIO()
    serve(io.BytesIO(b"\x00\x00"), out, 60)
    assert out.getvalue() == b""


@pytest.mark.parametrize(
    ("fault", "defect"), [(MemoryError, "parser_memoryerror"), (RecursionError, "parser_recursionerror")]
)
def test_a_mail_too_big_for_us_fails_alone(
    fault: type[Exception], defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(_: bytes) -> Reading:
        raise fault

    monkeypatch.setattr(parse_worker, "read", burst)
    assert answers(OTP) == [unreadable(OTP, defect)]


def test_the_process_answers_and_ends_with_its_pipe() -> None:
    frame = struct.pack("!I", len(OTP)) + OTP
    command = [sys.executable, "-m", "leasebox.mail.parse_worker", "5", str(1 << 30)]
    done = subprocess.run(command, input=frame, capture_output=True, timeout=30, check=True)
    assert msgspec.msgpack.decode(done.stdout[4:], type=Reading) == read(OTP)
    assert done.stderr == b""
