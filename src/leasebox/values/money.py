"""Money: whole micros of USDC, and nothing else (house rule 5). No float comes in and none goes out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

MICROS_PER_USDC = 1_000_000
LEAST_MICROS = -(2**63)
MOST_MICROS = 2**63 - 1  # what a bigint column holds: 9,223,372,036,854.775807 USDC

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,12})(?:\.([0-9]{1,6}))?")


class MalformedMoney(ValueError):
    """The text is no decimal amount of USDC. Doors answer it as 400."""


class MoneyOutOfRange(ValueError):
    """The amount does not fit into 64 bits of micros, so no ledger column could hold it."""


@dataclass(frozen=True, slots=True, order=True)
class Usdc:
    """An amount in micros (1e-6 USDC), 64 bits, either sign; `str()` gives all six decimals, `0.001000`.

    Adds to, subtracts from and compares with its own kind only; is multiplied by a whole number only. There is no
    division: nothing here rounds. Raises MoneyOutOfRange where a result leaves 64 bits, TypeError for other operands.
    """

    micros: int

    def __post_init__(self) -> None:
        if type(self.micros) is not int:  # a bool is an int to isinstance, and a float would be a lie
            raise TypeError("micros is a whole number")
        if not LEAST_MICROS <= self.micros <= MOST_MICROS:
            raise MoneyOutOfRange("more than 64 bits of micros")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `12`, `0.5`, `0.001000`: no sign, no exponent, no spaces, no leading zero, at most six decimals.

        Raises MalformedMoney for any other text, MoneyOutOfRange above 9,223,372,036,854.775807.
        """
        match = _AMOUNT.fullmatch(text)
        if match is None:
            raise MalformedMoney("an amount is written like 0.001000, with at most six decimals")
        return cls(int(match[1]) * MICROS_PER_USDC + int((match[2] or "").ljust(6, "0")))

    @classmethod
    def parse_signed(cls, text: str) -> Self:
        """Like `parse`, with a leading `-` for less than nothing. `-0` is refused: zero has one spelling of sign."""
        if not text.startswith("-"):
            return cls.parse(text)
        match = _AMOUNT.fullmatch(text, 1)
        micros = 0 if match is None else int(match[1]) * MICROS_PER_USDC + int((match[2] or "").ljust(6, "0"))
        if micros == 0:
            raise MalformedMoney("an amount is written like -0.001000, with at most six decimals")
        return cls(-micros)

    @classmethod
    def total(cls, amounts: Iterable["Usdc"]) -> Self:
        """The sum; nothing sums to zero. Raises MoneyOutOfRange if the sum (not a step of it) leaves 64 bits."""
        return cls(sum(amount.micros for amount in amounts))

    def __add__(self, other: "Usdc") -> "Usdc":
        return Usdc(self.micros + other.micros) if type(other) is Usdc else NotImplemented

    def __sub__(self, other: "Usdc") -> "Usdc":
        return Usdc(self.micros - other.micros) if type(other) is Usdc else NotImplemented

    def __mul__(self, times: int) -> "Usdc":
        return Usdc(self.micros * times) if type(times) is int else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> "Usdc":
        return Usdc(-self.micros)

    def __bool__(self) -> bool:
        return self.micros != 0

    def __str__(self) -> str:
        whole, rest = divmod(abs(self.micros), MICROS_PER_USDC)
        return f"{'-' if self.micros < 0 else ''}{whole}.{rest:06d}"


ZERO = Usdc(0)
