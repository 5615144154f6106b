"""The deck: every fault as often as it must, none a second time before all have been."""

import random
from collections import Counter

from tests.faults import gates, injector


def test_every_fault_happens_once_before_any_happens_twice() -> None:
    deck = injector.deck(random.Random(1))
    names = [fault.name for fault in deck]
    assert Counter(names) == {fault.name: fault.times for fault in injector.FAULTS}
    assert len(set(names[: len(injector.FAULTS)])) == len(injector.FAULTS)


def test_the_same_seed_gives_the_same_order() -> None:
    first, again, other = (injector.deck(random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_every_fault_happens_a_few_times_and_every_commit_has_both_sides() -> None:
    assert min(fault.times for fault in injector.FAULTS) >= 2
    names = {fault.name for fault in injector.FAULTS}
    for point in gates.POINTS:
        for side in gates.SIDES:
            assert f"kill {point.role} {side} “{point.name}”" in names
