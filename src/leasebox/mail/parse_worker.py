"""The process that reads mails one after another for a `ParsePool`: `python -m leasebox.mail.parse_worker`.

Frames on its pipes are a length (4 bytes, big-endian) and that many bytes: a mail in, a MessagePack answer out. Answers
are decoded to typed values, so a worker that a mail has taken over could lie about that mail and do nothing else.
"""

import gc
import resource
import signal
import struct
import sys
from typing import BinaryIO, Final, NamedTuple

import msgspec

from leasebox.mail import mime
from leasebox.mail.extracted import new_part
from leasebox.mail.mime import ParsedMail
from leasebox.mail.otp import Content, Extraction, extract

FRAME: Final = struct.Struct("!I")
NOTHING_FOUND: Final = Extraction(codes=(), links=(), otp_code=None, verification_link=None)


class Reading(NamedTuple):
    """A mail's fields, the codes and links in it, and the new part of its text (None: all of it)."""

    mail: ParsedMail
    extraction: Extraction
    extracted: str | None = None


def read(raw: bytes) -> Reading:
    """Parse a mail and look for codes and links. Pure; bounded in memory and, to a second or so of CPU, in time."""
    mail = mime.parse(raw)
    if mail.outcome == "failed":
        return Reading(mail, NOTHING_FOUND)
    # Text that was made from the HTML would count the same evidence twice.
    text = "" if mail.text_from == "html" else mail.text
    found = extract(Content(mail.subject, _sender_of(mail), text, mail.html or ""))
    return Reading(mail, found, new_part(mail))


def unreadable(raw: bytes, defect: str) -> Reading:
    """What is told of a mail that killed its worker: its header, `outcome` "failed", and `defect`."""
    return Reading(mime.salvage(raw, defect), NOTHING_FOUND)


def serve(jobs: BinaryIO, answers: BinaryIO, cpu_seconds: float) -> None:
    """Answer until `jobs` ends. A mail that takes more CPU than `cpu_seconds` ends the process (SIGPROF kills it)."""
    encoder = msgspec.msgpack.Encoder()
    while len(head := jobs.read(FRAME.size)) == FRAME.size:
        raw = jobs.read(FRAME.unpack(head)[0])
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        try:
            answer = encoder.encode(read(raw))
        except (MemoryError, RecursionError) as over:
            answer = encoder.encode(unreadable(raw, f"parser_{type(over).__name__.lower()}"))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(FRAME.pack(len(answer)))
        answers.write(answer)
        answers.flush()
        del raw, answer


def _sender_of(mail: ParsedMail) -> str:
    return f"{mail.sender_name} <{mail.sender}>" if mail.sender_name else mail.sender


def main() -> None:
    """Arguments: CPU seconds for one mail, bytes of address space."""
    cpu_seconds, memory_bytes = float(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; our end comes with the pipe's
    gc.freeze()
    serve(sys.stdin.buffer, sys.stdout.buffer, cpu_seconds)


if __name__ == "__main__":
    main()
