"""A rate limit as its operator writes it: `60/min`, `20/h`, `120/s`, `0` for none."""

import msgspec


class Rate(msgspec.Struct, frozen=True):
    """At most `count` within `seconds`; count 0 means unlimited."""

    count: int
    seconds: int
