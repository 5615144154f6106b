"""Verbs of a tenant's wallets: bind, list, remove."""

from datetime import datetime

from leasebox.audit.service import record
from leasebox.identity import siwe, store
from leasebox.identity.errors import LastWallet, WalletsBySession, WalletTaken
from leasebox.identity.model import Caller, Signer, Wallet
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound
from leasebox.values.ids import KeyId, TenantId


async def bind_wallet(tx: Tx, caller: Caller, signer: Signer, at: datetime, request_id: str) -> Wallet:
    """Bind a further wallet to the caller's tenant; again: the same answer. Raises WalletTaken (409), WalletsBySession.

    Who signs in with a wallet has every right for an hour and again, so only a tenant without any wallet may be given
    its first one by an API key, which may have fewer rights.
    """
    address = signer.address.lower()
    await store.lock_wallet(tx, address)
    # Else two keys could both bind a first wallet at once.
    await store.lock_tenant(tx, caller.tenant_id)
    if await store.list_wallets(tx, caller.tenant_id):
        _require_session(caller)
    async with tx.across_tenants("a wallet is one tenant's only"):
        found = await store.find_tenant(tx, address)
    if found is None:
        await store.insert_wallet(tx, caller.tenant_id, address, signer.chain_id, at)
        await record(tx, caller.act(at, request_id, "wallet.bind", address))
    elif TenantId.of(found["id"]) != caller.tenant_id:
        raise WalletTaken("This wallet belongs to another tenant.")
    return next(wallet for wallet in await list_wallets(tx, caller.tenant_id) if wallet.address == signer.address)


async def list_wallets(tx: Tx, tenant_id: TenantId) -> list[Wallet]:
    """The tenant's wallets, oldest first."""
    return [
        Wallet(siwe.checksummed(row["address"]), row["chain_id"], row["bound_at"])
        for row in await store.list_wallets(tx, tenant_id)
    ]


async def unbind_wallet(tx: Tx, caller: Caller, address: str, at: datetime, request_id: str) -> None:
    """Remove a wallet and end its sessions. Raises NotFound, WalletsBySession, or LastWallet (409): one stays."""
    _require_session(caller)
    # First, as signing in does: else a sign-in under way would leave a session behind that nobody ended.
    await store.lock_wallet(tx, address.lower())
    await store.lock_tenant(tx, caller.tenant_id)
    bound = {row["address"] for row in await store.list_wallets(tx, caller.tenant_id)}
    if address.lower() not in bound:
        raise NotFound("This wallet is not bound to your tenant.")
    if len(bound) == 1:
        raise LastWallet("This is the tenant's last wallet.")
    await store.delete_wallet(tx, caller.tenant_id, address.lower(), at)
    await record(tx, caller.act(at, request_id, "wallet.unbind", address.lower()))


def _require_session(caller: Caller) -> None:
    if isinstance(caller.credential_id, KeyId):
        raise WalletsBySession("An API key cannot change the wallets of a tenant.")
