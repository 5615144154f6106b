"""Refusals of administering."""

from leasebox.values.errors import BadRequest, Conflict, Forbidden, Unprocessable


class AdminClosed(Forbidden):
    fix = "Name admin wallets in LEASEBOX_ADMIN_WALLETS and restart: with none configured, administration is closed."


class NotAnAdmin(Forbidden):
    fix = "Sign in with a wallet that LEASEBOX_ADMIN_WALLETS names; tenants sign in at /v2/auth/siwe/challenge."


class RoleLacksRight(Forbidden):
    fix = "Sign in with a wallet of one of the roles named, or ask an owner."


class NotSearchable(BadRequest):
    fix = "Search for a wallet (0x…), a leased address (name@domain), or an id (ten_, agt_, key_, mbx_, lse_, inv_)."


class Overtaken(Conflict):
    fix = "Read the present state, then decide again; somebody changed it since you looked."


class SpanTooLong(BadRequest):
    fix = "Ask for a shorter time: at most 31 days by the hour, 366 days by the day."


class LogBroken(Conflict):
    fix = "Run 'leasebox audit verify' on the server: a sealed log was changed behind our back."


class LogTooLong(Unprocessable):
    fix = "Run 'leasebox audit verify' on the server: a log of this length takes longer than a request may."
