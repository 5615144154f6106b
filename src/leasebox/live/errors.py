"""Why a stream is not opened, or ends."""

from leasebox.values.errors import LeaseboxError, NotFound, RateLimited, Unavailable


class UnknownPlace(NotFound):
    fix = (
        "Send the id of the last event that you have, exactly as it was told; leave it out to hear what happens from "
        "now on, or list GET /v2/events/log."
    )


class TooManyStreams(RateLimited):
    fix = "Close a stream first: one hears of all mailboxes, and can be filtered by mailbox_id and types."


class Closing(Unavailable):
    """This process is about to end."""

    reason = "closing"
    fix = "Connect again at once with the last event id that you have: nothing is lost or repeated."


class NothingAsked(LeaseboxError):
    """A WebSocket on which nobody said in time what is wanted."""

    reason = "nothing_asked"
    fix = 'Send {"authenticate": {"token": "…"}} if no Authorization header was sent, then {"subscribe": {}}.'
