"""How it shows that the connection to another process of a run was lost."""

import re

from torch import distributed

from .errors import RunError, first_line

PAIR = 2  # processes, of which each knows the other
GLOO_SOURCE = re.compile(r".*\[\S*gloo/\S+:\d+\] ")  # where in gloo's own source an error came up


def is_connected() -> bool:
    """Whether this process has joined others, of which there may be none but itself."""
    return distributed.is_available() and distributed.is_initialized()


def is_lost_connection(error: Exception) -> bool:
    """Whether this is what communication with other processes ends with; gloo has no class for it."""
    if isinstance(error, RunError):
        return False
    return isinstance(error, distributed.DistError) or GLOO_SOURCE.search(str(error)) is not None


def cause(error: RuntimeError) -> str:
    """What happened to a connection, without the place in gloo's source before it, and the advice that follows."""
    return GLOO_SOURCE.sub("", first_line(error)).partition(". ")[0]


def lost_peer() -> str:
    """Which process lost which, as far as it is known."""
    if not is_connected():
        return "the connection to other processes of this run was lost"
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    other = f"rank {1 - rank}" if processes == PAIR else "another of the ranks"
    return f"rank {rank} of {processes} lost its connection to {other}, which has ended"
