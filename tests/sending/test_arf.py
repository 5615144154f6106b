"""Complaints: what counts as one, which of our return paths they repeat, and who complained."""

import random
import time

import pytest

from leasebox.sending import arf
from leasebox.sending.arf import Complaint

PATH = "bounce+01kafzzzzzf00v0dy0f3b3v5kk.grhv2eb2ew832cvzsw2p"
OTHER = "bounce+01kafzzzzzf00v0dy0f3b3v5km.grhv2eb2ew832cvzsw2q"


def report(feedback: str, returned: str = "", label: str = "message/rfc822") -> bytes:
    """A report with these fields about a mail with this header."""
    mail = (
        "Return-Path: <fbl@far.example>\nFrom: fbl@far.example\nTo: complaints@inbox.example\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nThis is a complaint.\n\n"
        f"--b\nContent-Type: message/feedback-report\n\n{feedback}\n"
        f"--b\nContent-Type: {label}\n\n{returned}\n\nBuy bounce+not-in-the-header@inbox.example\n--b--\n"
    )
    return mail.replace("\n", "\r\n").encode()


ABUSE = "Feedback-Type: abuse\nUser-Agent: Loop/1.0\nVersion: 1\n"


def test_a_complaint_names_its_mail_and_its_author() -> None:
    feedback = f"{ABUSE}Original-Mail-From: <{PATH}@inbox.example>\nOriginal-Rcpt-To: <Ann@far.example>\n"
    assert arf.read(report(feedback)) == Complaint("abuse", (PATH,), ("ann@far.example",))


@pytest.mark.parametrize("label", ["message/rfc822", "text/rfc822-headers", "message/rfc822-headers"])
def test_the_return_path_may_stand_in_the_returned_header(label: str) -> None:
    found = arf.read(report(ABUSE, f"Return-Path: <{PATH}@inbox.example>\nFrom: a@inbox.example", label))
    assert found == Complaint("abuse", (PATH,), ())


def test_its_body_is_not_looked_at() -> None:
    assert arf.read(report(ABUSE, f"From: a@inbox.example\n\nReturn-Path: <{PATH}@inbox.example>")) == Complaint(
        "abuse", (), ()
    )


def test_several_paths_and_people_are_told_once_each() -> None:
    fields = "".join(f"Original-Rcpt-To: rfc822; a{n % 3}@far.example\n" for n in range(9))
    found = arf.read(
        report(
            f"{ABUSE}{fields}Original-Mail-From: {PATH}@x.example\n", f"Return-Path: <{OTHER.upper()}@x>\nX: {PATH}@x"
        )
    )
    assert found == Complaint("abuse", (PATH, OTHER), ("a0@far.example", "a1@far.example", "a2@far.example"))


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("abuse", "abuse"),
        ("Fraud", "fraud"),
        ("opt-out", "opt-out"),
        (" other ; x", "other"),
        ("", "other"),
        ("!", "other"),
        ("not-spam", None),
        ("auth-failure", None),
    ],
)
def test_kinds(kind: str, read: str | None) -> None:
    found = arf.read(report(f"Feedback-Type: {kind}\n"))
    assert (None if found is None else found.kind) == read


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"From: a@far.example\r\n\r\nFeedback-Type: abuse\r\n",
        report("User-Agent: x\n"),
        report(""),
        report(ABUSE).replace(b"message/feedback-report", b"application/octet-stream"),
    ],
    ids=range(5),
)
def test_what_is_no_complaint(mail: bytes) -> None:
    assert arf.read(mail) is None


@pytest.mark.parametrize(
    "near",
    [PATH[:-1], f"x{PATH}", f"a.{PATH}", PATH.replace("+", "-"), f"{PATH}x", PATH.replace(".", "")],
    ids=range(6),
)
def test_what_only_looks_like_a_return_path_is_none(near: str) -> None:
    found = arf.read(report(f"{ABUSE}Original-Mail-From: {near}@inbox.example\n"))
    assert found is not None
    assert found.return_paths == ()


def test_a_flood_is_bounded() -> None:
    paths = "".join(f"X-{n}: {PATH[:-3]}{n:03d}@x\n" for n in range(900))
    people = "".join(f"Original-Rcpt-To: a{n}@far.example\n" for n in range(900))
    before = time.process_time()
    found = arf.read(report(ABUSE + people, paths))
    assert time.process_time() - before < 2
    assert found is not None
    assert (len(found.return_paths), len(found.recipients)) == (arf.RETURN_PATHS, arf.RECIPIENTS)


def test_any_bytes_are_read() -> None:
    noise = random.Random(20261120)
    whole = report(f"{ABUSE}Original-Mail-From: {PATH}@inbox.example\n", f"Return-Path: <{PATH}@inbox.example>")
    for _ in range(500):
        mail = bytearray(whole)
        for _ in range(noise.randrange(1, 20)):
            place = noise.randrange(len(mail))
            mail[place : place + noise.randrange(3)] = noise.randbytes(noise.randrange(3))
        found = arf.read(bytes(mail))
        assert found is None or len(found.kind) <= 40
