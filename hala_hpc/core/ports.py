"""TCP ports where the ranks of a job meet, outside of those that the kernel assigns."""

import random
import socket

#: Below the ports that the kernel assigns on request (from 32768), and away from 29500, which
#: everybody uses.
RANK_PORTS = range(12000, 28000)
#: Consecutive ports of a job: the first is given to its ranks, at the last they meet before that.
PORTS_PER_JOB = 4


def find_free_port() -> int:
    """Find a port of this machine that is free, together with its neighbours.

    Not one that the kernel chooses: it could assign the same port to the next connection, before
    the ranks have imported what they need. Raises OSError if none is found.
    """
    # Not from the seed of a run: launches at the same time must not choose the same port.
    chance = random.SystemRandom()
    for _ in range(100):
        port = chance.choice(RANK_PORTS)
        if all(is_free(neighbour) for neighbour in range(port, port + PORTS_PER_JOB)):
            return port
    raise OSError(f"no free port was found between {RANK_PORTS.start} and {RANK_PORTS.stop}")


def is_free(port: int) -> bool:
    """Whether a process could listen at a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
