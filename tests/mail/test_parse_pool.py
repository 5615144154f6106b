"""The pool: who reads inline, who goes to a worker, and what becomes of mails that kill one."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leasebox.mail import parse_pool
from leasebox.mail.parse_pool import INLINE_BYTES, INLINE_COLD_BYTES, ParsePool
from leasebox.mail.parse_worker import read
from leasebox.values.errors import Unavailable

OTP = b"From: no-reply@acme.example\r\nSubject: Your code\r\n\r\nYour verification code is 482913.\r\n"
BIG = OTP + b"\r\n" + b"Thank you for being with us.\r\n" * 4000


@pytest.fixture
async def pool() -> AsyncIterator[ParsePool]:
    running = ParsePool(workers=2, cpu_seconds=2.0)
    yield running
    await running.close()


def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Let workers run `code` instead of the real thing."""
    script = tmp_path / "worker.py"
    script.write_text(f"import os, signal, sys, time\nfrom leasebox.mail import parse_worker\n{code}\n")

    async def start(cpu_seconds: float, memory_bytes: int) -> parse_pool._Worker:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(script), str(cpu_seconds), str(memory_bytes)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return parse_pool._Worker(process)

    monkeypatch.setattr(parse_pool._Worker, "start", start)


async def test_small_mails_start_no_process(pool: ParsePool) -> None:
    assert await pool.read(OTP) == read(OTP)
    assert pool.living_workers == 0


async def test_large_mails_are_read_by_a_worker_that_stays(pool: ParsePool) -> None:
    assert await pool.read(BIG) == read(BIG)
    assert await pool.read(BIG) == read(BIG)
    assert pool.living_workers == 1


async def test_middling_mails_use_a_worker_only_if_one_lives(pool: ParsePool) -> None:
    middling = BIG[: INLINE_BYTES + 1]
    assert len(middling) < INLINE_COLD_BYTES
    await pool.read(middling)
    assert pool.living_workers == 0
    await pool.read(BIG)
    assert await pool.read(middling) == read(middling)


async def test_no_more_workers_than_allowed(pool: ParsePool) -> None:
    found = await asyncio.gather(*(pool.read(BIG) for _ in range(6)))
    assert {one.extraction.otp_code for one in found} == {"482913"}
    assert pool.living_workers == 2


async def test_idle_workers_end() -> None:
    pool = ParsePool(workers=1, idle_seconds=0.05)
    await pool.read(BIG)
    assert pool.living_workers == 1
    await asyncio.sleep(0.3)
    assert pool.living_workers == 0
    assert await pool.read(BIG) == read(BIG)
    await pool.close()


async def test_a_worker_killed_while_idle_is_replaced(pool: ParsePool) -> None:
    await pool.read(BIG)
    os.kill(pool._idle[0]._process.pid, signal.SIGKILL)
    assert await pool.read(BIG) == read(BIG)
    assert pool.living_workers == 1


async def test_cpu_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(
        monkeypatch, tmp_path, "def burn(raw):\n    while True: pass\nparse_worker.read = burn\nparse_worker.main()"
    )
    monkeypatch.setattr(parse_pool, "WALL_FACTOR", 100.0)  # a busy machine must not decide what ends it
    pool = ParsePool(workers=1, cpu_seconds=0.2)
    reading = await pool.read(BIG)
    assert (reading.mail.outcome, reading.mail.defects) == ("failed", ("parser_cpu_over",))
    assert (reading.mail.subject, reading.mail.sender) == ("Your code", "no-reply@acme.example")
    assert pool.living_workers == 0
    await pool.close()


async def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, tmp_path, "time.sleep(30)")
    pool = ParsePool(workers=1, cpu_seconds=0.1)
    started = time.monotonic()
    assert (await pool.read(BIG)).mail.defects == ("parser_time_over",)
    assert time.monotonic() - started < 5
    assert pool.living_workers == 0
    await pool.close()


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "def eat(raw):\n    return bytearray(1 << 31)\nparse_worker.read = eat\nparse_worker.main()"
    stand_in(monkeypatch, tmp_path, code)
    pool = ParsePool(workers=1)
    assert (await pool.read(BIG)).mail.defects == ("parser_memoryerror",)
    await pool.close()


@pytest.mark.parametrize(
    "code",
    [
        "sys.exit(3)",
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "os.write(1, b'\\0\\0\\0\\2no'); time.sleep(9)",
        "os.write(1, b'\\xff' * 4); time.sleep(9)",
    ],
)
async def test_a_mail_that_kills_two_workers_fails(code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, tmp_path, code)
    pool = ParsePool(workers=1)
    reading = await pool.read(BIG)
    assert (reading.mail.outcome, reading.mail.defects) == ("failed", ("parser_died",))
    assert pool.living_workers == 0
    await pool.close()


async def test_a_worker_that_dies_once_costs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = tmp_path / "died"
    code = f"mark = {str(mark)!r}\nif not os.path.exists(mark):\n    open(mark, 'w').close()\n    sys.exit(1)\n"
    stand_in(monkeypatch, tmp_path, code + "parse_worker.main()")
    pool = ParsePool(workers=1)
    assert await pool.read(BIG) == read(BIG)
    assert mark.exists()
    await pool.close()


async def test_no_process_to_be_had_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(cpu_seconds: float, memory_bytes: int) -> parse_pool._Worker:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(parse_pool._Worker, "start", start)
    pool = ParsePool(workers=1)
    with pytest.raises(Unavailable):
        await pool.read(BIG)
    assert pool.living_workers == 0


async def test_who_stops_waiting_leaves_no_half_answer(pool: ParsePool) -> None:
    waiting = asyncio.ensure_future(pool.read(BIG))
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.living_workers == 0
    assert await pool.read(BIG) == read(BIG)


async def test_workers_get_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch, pool: ParsePool) -> None:
    monkeypatch.setenv("LEASEBOX_SECRET", "canary")
    await pool.read(BIG)
    environment = environment_of(pool._idle[0]._process.pid)
    assert b"PATH=" in environment
    assert b"canary" not in environment


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


BOMB_CODE = """
real = parse_worker.read
def burn(raw):
    while b"bomb" in raw:
        pass
    return real(raw)
parse_worker.read = burn
parse_worker.main()
"""


async def test_a_bomb_slows_nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, tmp_path, BOMB_CODE)
    monkeypatch.setattr(parse_pool, "WALL_FACTOR", 100.0)
    pool = ParsePool(workers=2, cpu_seconds=2.0)
    bomb = asyncio.ensure_future(pool.read(BIG + b"bomb"))
    await asyncio.sleep(0.05)
    started = time.monotonic()
    assert (await pool.read(OTP)).extraction.otp_code == "482913"
    assert time.monotonic() - started < 1.0
    assert (await pool.read(BIG)).extraction.otp_code == "482913"
    assert not bomb.done()
    assert (await bomb).mail.defects == ("parser_cpu_over",)
    await pool.close()


async def test_a_fault_of_ours_costs_one_mail(monkeypatch: pytest.MonkeyPatch, pool: ParsePool) -> None:
    def stumble(_: bytes) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(parse_pool, "read", stumble)
    assert (await pool.read(OTP)).mail.defects == ("parser_died",)
