"""Why a log cannot be gone on with, or proved from."""

from leasebox.values.errors import BadRequest, NotFound


class BrokenLog(Exception):
    """A log's leaves are not the tree of its last head: somebody changed them, and nothing is built on that."""


class NotSealed(NotFound):
    """404: no row of this id is sealed in this log."""

    fix = "Check the id; a row is sealed within seconds of being written, so ask again if it is new."


class NoSuchSize(BadRequest):
    """400: the log never had this size, or the sizes are the wrong way round."""

    fix = "Take the sizes from two heads of this log, the older one first."
