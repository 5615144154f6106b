"""What a payment proof costs in the HTTP process: `python -m tests.bench.bench_proof`."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from leasebox.billing.prices import Meter
from leasebox.billing.proof import Claims, bound_to, sign, verify
from leasebox.values.ids import TenantId
from leasebox.values.keys import Purpose, ring
from leasebox.values.money import Usdc
from leasebox.values.paths import Route, normalize
from leasebox.values.secret import Secret

QUICK = None
MOST_SIGN_AND_VERIFY_MICROSECONDS = 15.0
_NOW = datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)
_ROUTE = Route("POST", "/v2/mailboxes/leases")
_TENANT = TenantId.new(_NOW)
_TURNS, _ROUNDS = 10_000, 5


def rows() -> list[dict[str, Any]]:
    """CPU cost of each act; the best of five rounds of 10,000 turns."""
    keys = ring(Secret("m" * 32), Secret("b" * 32), Purpose.PAYMENT_PROOF)
    claims = _claims()
    text = sign(claims, keys.current).reveal()
    forged = text[:-2] + ("AA" if text[-2:] != "AA" else "BA")
    sign_cost, verify_cost = _cost(lambda: sign(claims, keys.current)), _cost(lambda: verify(text, keys, _NOW))
    return [
        _row("proof: fresh claims with id", _cost(_claims)),
        _row("proof: sign", sign_cost),
        _row("proof: verify", verify_cost),
        _row("proof: sign + verify", sign_cost + verify_cost) | {"goal": MOST_SIGN_AND_VERIFY_MICROSECONDS},
        _row("proof: refuse a forged mac", _cost(lambda: verify(forged, keys, _NOW))),
        _row("proof: bound_to", _cost(lambda: bound_to(claims, _TENANT, _ROUTE.method, _ROUTE.path))),
        _row("path: normalize", _cost(lambda: normalize("POST", b"/v2/mailboxes/leases"))),
    ]


def _row(name: str, cost: float) -> dict[str, Any]:
    return {"name": name, "unit": "µs CPU", "median": cost, "n": _TURNS}


def _claims() -> Claims:
    return Claims.issue(_TENANT, _ROUTE, meter=Meter.MAILBOX_LEASE, amount=Usdc(1_000), price_version=1, now=_NOW)


def _cost(work: Callable[[], object]) -> float:
    return min(_round(work) for _ in range(_ROUNDS))


def _round(work: Callable[[], object]) -> float:
    start = time.process_time_ns()
    for _ in range(_TURNS):
        work()
    return (time.process_time_ns() - start) / _TURNS / 1_000


if __name__ == "__main__":
    for row in rows():
        print(f"{row['name']:32} {row['median']:8.2f} {row['unit']}")
