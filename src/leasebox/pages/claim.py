"""The approval page of a claim: what is asked, by whom, and two buttons. Pure."""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from html import escape

from leasebox.leases.claims_model import LEASE_HOURS, Claim
from leasebox.pages.frame import frame
from leasebox.pages.template import fill, load

# Else browsers would send `Origin: null` with the form (Fetch §4.5, under the no-referrer policy of all our answers).
_HEAD = '<meta name="referrer" content="same-origin">'
_SAID = {
    "approved": ("Approved", "The program that asked has the mailbox {address} now. You can close this page."),
    "declined": ("Declined", "The mailbox {address} was not given to the program that asked. You can close this page."),
    "expired": ("Too late", "The time to decide about {address} is over. The program can ask anew."),
}
_TAKEN = "The name {address} was taken by somebody else meanwhile. The program can ask for another one."


def claim_page(claim: Claim, form_token: str, at: datetime) -> str:
    """The claim as it is at a moment: with its form while it is pending, with its outcome afterwards."""
    status = claim.status(at)
    if status != "pending":
        title, text = _SAID[status]
        text = _TAKEN if claim.reason == "address_taken" else text
        return said_page(title, text.format(address=claim.address))
    words = {
        "address": claim.address,
        "asked_from": claim.asked_from,
        "asked_at": _clock(claim.created_at),
        "until": _clock(claim.expires_at),
        "hours": str(LEASE_HOURS),
        "form_token": form_token,
    }
    return frame("Approve a mailbox?", "", fill(load("claim.html"), words, escape), "", _HEAD)


def said_page(title: str, text: str) -> str:
    """A page that only says something."""
    words = {"title": title, "text": text}
    return frame(title, "", fill(load("claim_said.html"), words, escape), "")


def new_nonce() -> str:
    """128 random bits for the cookie of a browser that has opened the page."""
    return secrets.token_hex(16)


def form_token(nonce: str, link: str) -> str:
    """What the form carries: good in the browser with this cookie, for this claim, until it is decided."""
    return hmac.new(nonce.encode(), link.encode(), hashlib.sha256).hexdigest()


def _clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
