"""What doors need for metering and paying, and the price book that an instance starts with."""

import msgspec

from leasebox.billing import price_list, prices
from leasebox.billing.prices import DEFAULT_PRICES, PriceBook
from leasebox.billing.till_http import Till
from leasebox.config import ConfigFaults, Settings
from leasebox.infra.web.idempotency import Once
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.wiring.process import Backbone


class Counter(msgspec.Struct, frozen=True):
    """proof_keys sign and verify payment proofs; till admits to payable routes; once answers repeated requests."""

    proof_keys: KeyRing
    till: Till
    once: Once


def counter(settings: Settings, base: Backbone) -> Counter:
    """Built once a process; all its keys come from the master secret."""
    proof_keys = ring(settings.secret, settings.secret_previous, Purpose.PAYMENT_PROOF)
    answer_keys = ring(settings.secret, settings.secret_previous, Purpose.KEPT_ANSWER)
    return Counter(proof_keys, Till(base.db, base.clock, proof_keys), Once(base.db, base.clock, answer_keys))


async def publish_prices(settings: Settings, base: Backbone) -> None:
    """Put the operator's price book in force, where it says something new. Raises ConfigFaults, Unavailable."""
    book, now = price_book(settings), base.clock.now()
    await base.db.transact(lambda tx: price_list.publish(tx, book, now))


def price_book(settings: Settings) -> PriceBook:
    """The book that LEASEBOX_PRICES names, or the default one. Raises ConfigFaults with a line for each fault."""
    if settings.prices is None:
        return DEFAULT_PRICES
    try:
        book = prices.load(settings.prices.read_text())
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigFaults([f"LEASEBOX_PRICES: cannot read {settings.prices}: {fault}"]) from None
    if isinstance(book, PriceBook):
        return book
    raise ConfigFaults([f"LEASEBOX_PRICES: {fault.path}: {fault.message}" for fault in book])
