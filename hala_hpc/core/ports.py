"""TCP ports at which the ranks of a job meet, where the kernel gives none away."""

import random
import socket

#: Below the ports that the kernel gives to anybody who asks for one (from 32768), and away from
#: 29500, which everybody takes.
RANK_PORTS = range(12000, 28000)
#: Ports in a row that a job has: the first is named to its ranks, at the last they meet before.
PORTS_PER_JOB = 4


def find_free_port() -> int:
    """A port of this machine that nobody holds, nor its neighbours.

    Not one that the kernel chooses: it would give the same to the next connection of anybody,
    before the ranks have imported what they need. Raises OSError when none is found.
    """
    # Not from the seed of a run: launches at once must not meet at one port.
    chance = random.SystemRandom()
    for _ in range(100):
        port = chance.choice(RANK_PORTS)
        if all(is_free(neighbour) for neighbour in range(port, port + PORTS_PER_JOB)):
            return port
    raise OSError(f"no free port was found between {RANK_PORTS.start} and {RANK_PORTS.stop}")


def is_free(port: int) -> bool:
    """Whether somebody could listen at a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
