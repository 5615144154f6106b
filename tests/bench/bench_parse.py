"""What reading a mail costs: `python -m tests.bench.bench_parse [--quick]`.

`parse` is MIME alone, `read` is MIME with codes and links, as the parser role does it.
"""

import argparse
import base64
import random
import time
from collections.abc import Callable
from typing import Any

from leasebox.mail.mime import parse
from leasebox.mail.parse_worker import read

QUICK = {"seconds": 0.4}
_HEAD = (
    b"Received: from mx.acme.example (mx.acme.example [192.0.2.7])\r\n\tby mx.inbox.example with ESMTPS id 4Xyz;\r\n"
    b"\tFri, 20 Nov 2026 10:02:24 +0000\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=acme.example; s=s1;\r\n"
    b"\th=from:to:subject:date; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n"
    b"\tb=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\r\n"
    b'From: "Acme Login" <no-reply@acme.example>\r\nTo: brave-otter-42@inbox.example\r\n'
    b"Subject: =?utf-8?q?Your_Acme_code_is_482913?=\r\nDate: Fri, 20 Nov 2026 10:02:23 +0000\r\n"
    b"Message-ID: <20261120100223.1@acme.example>\r\nMIME-Version: 1.0\r\n"
)
_TEXT = b"Hello,\r\n\r\nYour verification code is 482913. It expires in 10 minutes.\r\n"
_ROW = (
    b'<tr><td style=3D"padding:0 24px;font-family:Arial"><p class=3D"body">Thank you for trying Acme, the best=\r\n'
    b' anvils in town.</p><a href=3D"https://acme.example/shop?item=3D12345&amp;ref=3Dmail">Shop now</a></td></tr>\r\n'
)


def rows(seconds: float = 2.0) -> list[dict[str, Any]]:
    """name, unit (µs), median, p99 and n for each mail, measured for about `seconds` each."""
    mails = {"otp text 0.8 KB": _otp(), "html multipart 50 KB": _page(), "attachment 5 MB": _attachment()}
    jobs: dict[str, Callable[[bytes], object]] = {"parse": parse, "read": read}
    return [_row(f"{job}: {mail}", work, mails[mail], seconds) for mail in mails for job, work in jobs.items()]


def _otp() -> bytes:
    return _HEAD + b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n' + _TEXT


def _page() -> bytes:
    part = b'--q\r\nContent-Type: text/%b; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%b\r\n'
    page = (
        b"<html><body><table>"
        + _ROW * (50_000 // len(_ROW))
        + b"<tr><td>"
        + _TEXT
        + b"</td></tr></table></body></html>"
    )
    parts = part % (b"plain", _TEXT) + part % (b"html", page)
    return _HEAD + b"Content-Type: multipart/alternative; boundary=q\r\n\r\n" + parts + b"--q--\r\n"


def _attachment() -> bytes:
    content = base64.encodebytes(random.Random(1).randbytes(5 << 20)).replace(b"\n", b"\r\n")
    part = b"--q\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + content
    return _HEAD + b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\n" + _TEXT + part + b"--q--\r\n"


def _row(name: str, work: Callable[[bytes], object], raw: bytes, seconds: float) -> dict[str, Any]:
    work(raw)
    costs: list[float] = []
    ends = time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends or len(costs) < 5:
        work(raw)
        costs.append((time.perf_counter() - began) * 1e6)
    costs.sort()
    return {
        "name": name,
        "unit": "µs",
        "median": round(costs[len(costs) // 2], 1),
        "p99": round(costs[min(len(costs) - 1, len(costs) * 99 // 100)], 1),
        "n": len(costs),
    }


def main() -> None:
    """Print one line a mail."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a fifth of a second for each mail")
    seconds = 0.2 if options.parse_args().quick else 2.0
    for row in rows(seconds):
        print(
            f"{row['name']:32} median {row['median']:>10,.1f} {row['unit']}  p99 {row['p99']:>10,.1f}  n {row['n']:,}"
        )


if __name__ == "__main__":
    main()
