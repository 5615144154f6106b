"""How pgbench's log is read."""

from tests.bench import http_peers


def log(client: int, begins: float, step: float, count: int) -> list[str]:
    ends = [begins + step * (number + 1) for number in range(count)]
    return [f"{client} {n + 1} 900 0 {int(end)} {round((end - int(end)) * 1e6)}" for n, end in enumerate(ends)]


def test_the_rate_is_of_warm_clients_that_are_all_at_work() -> None:
    warming = [f"{client} {number} 99000 0 100 0" for client in (0, 1) for number in range(http_peers._WARM_UP)]
    quick, slow = log(0, 100.0, 0.25, 40), log(1, 100.0, 0.5, 40)
    # The quick one is done after ten seconds: forty of its own until then, and twenty of the slow one's.
    assert http_peers._rate([*warming, *quick, *slow]) == 6.0
