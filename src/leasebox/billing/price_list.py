"""The operator's price book as versions in the database: what is in force, and what explains every old amount."""

from datetime import datetime

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.billing import store
from leasebox.billing.errors import PriceMoved
from leasebox.billing.model import PriceVersion
from leasebox.billing.prices import MeterPrice, PriceBook
from leasebox.infra.db import Tx

BOOK = "book"


async def publish(tx: Tx, book: PriceBook, at: datetime) -> dict[str, int]:
    """Make a version of each price that the book has changed since it was last published; which.

    The same book again changes nothing, also from another process at the same moment, and a price that an admin has
    changed since then stays until the book itself is edited. All processes charge what the database says.
    """
    await store.lock_prices(tx)
    before = await store.last_of_book(tx, BOOK)
    changed = [price for meter, price in sorted(book.prices.items()) if before.get(meter) != price.digest()]
    made = {str(price.meter): await store.add_price(tx, price, BOOK, at) for price in changed}
    if made:
        await record(tx, Act(at, "job:prices", "prices.publish", BOOK, None, "start", detail={"versions": made}))
    return made


async def change(
    tx: Tx, price: MeterPrice, expected: int | None, note: str, *, actor: str, at: datetime, request_id: str
) -> PriceVersion:
    """Put a price in force as a new version; the one in force if it says the same. Proofs made before keep theirs.

    expected: the version that it replaces, None for whichever is in force. Raises PriceMoved (409).
    """
    await store.lock_prices(tx)
    before = next(each for each in await store.current_prices(tx) if each.meter == price.meter)
    if expected is not None and before.version != expected:
        raise PriceMoved(f"The price in force is version {before.version}.", price_version=before.version)
    if _shown(before) == {"free": price.free, "window": price.window.value, "price_usdc": str(price.price)}:
        return before
    await store.add_price(tx, price, actor, at)
    after = next(each for each in await store.current_prices(tx) if each.meter == price.meter)
    detail = {"before": _shown(before), "after": _shown(after), "price_version": after.version, "note": note}
    await record(tx, Act(at, actor, "price.change", price.meter.value, None, request_id, detail=detail))
    return after


async def current(tx: Tx) -> list[PriceVersion]:
    """The prices in force, by meter."""
    return await store.current_prices(tx)


async def history(tx: Tx) -> list[PriceVersion]:
    """All versions there ever were, by meter and version."""
    return await store.all_prices(tx)


def _shown(price: PriceVersion) -> dict[str, int | str]:
    return {"free": price.free_units, "window": price.span, "price_usdc": str(price.unit_price)}
