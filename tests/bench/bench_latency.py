"""From the end of a mail's content to the answer of a `wait` that stood open, while mails come at a steady rate.

`leasebox up` with its roles and engines, fsync on, DNS off; agents and senders are one process of their own
(wait_load.py). `python -m tests.bench latency [--quick]` prints the figures; bench_instance.py has mails one at a time.
"""

from tests.bench import figures, house, wait_load
from tests.bench.figures import Row
from tests.bench.wait_load import Course

QUICK = {"rates": (50.0,), "seconds": 3.0}
GOAL_RATE, GOAL_MS, GOAL_P99_MS = 50.0, 6.0, 25.0
MAILBOXES = 64
_ROLES = ("http", "smtp", "parser", "worker", "postgres", "valkey")


def rows(rates: tuple[float, ...] = (1.0, 50.0, 500.0), seconds: float = 20.0) -> list[Row]:
    """Milliseconds by rate, and the CPU of all of leasebox for one mail."""
    with house.opened() as opened:
        return [_row(opened, rate, seconds) for rate in rates]


def _row(opened: house.House, rate: float, seconds: float) -> Row:
    """Of mailboxes without mail: a waiter is told at once of what is there already."""
    mailboxes = [(lease["mailbox_id"], lease["address"]) for lease in opened.leases(MAILBOXES)]
    instance, token = opened.instance, opened.http.headers["authorization"].partition(" ")[2]
    mails = max(10, int(rate * seconds))
    meter = house.Meter(instance.process.pid).begin()
    # Few mails need few desks; many keep each of them busy for about 50 ms.
    desks = mailboxes[: max(4, min(MAILBOXES, int(rate / 5)))]
    took = wait_load.run(Course(instance.url, token, instance.smtp_port, desks, rate, mails))
    # At a mail a second it would be what leasebox does when it does nothing.
    spent = sum(meter.spent_us(_ROLES).values()) / (mails + rate) if rate >= GOAL_RATE else None
    goals = {"goal": GOAL_MS, "goal_p99": GOAL_P99_MS} if rate == GOAL_RATE else {}
    return figures.row(f"mail: DATA end to `wait` answered, {rate:g} mails/s", "ms", took, cpu_us=spent, **goals)


if __name__ == "__main__":
    for row in rows():
        print(row)
