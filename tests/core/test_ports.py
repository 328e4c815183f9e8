"""The ports at which ranks meet are the job's own until its ranks have come."""

import socket

import pytest

from hala_hpc.core import ports
from hala_hpc.core.ports import PORTS_PER_JOB, RANK_PORTS, find_free_port

#: Linux: net.ipv4.ip_local_port_range begins here by default.
FIRST_GIVEN_AWAY = 32768


def test_no_port_is_one_that_the_kernel_gives_to_others() -> None:
    """Of two test runs side by side, connections of one once took the port of the other's ranks."""
    chosen = {find_free_port() for _ in range(50)}
    assert len(chosen) > 40, "launches at once choose apart"
    assert RANK_PORTS.start <= min(chosen)
    assert max(chosen) + PORTS_PER_JOB < FIRST_GIVEN_AWAY


def test_a_port_with_a_taken_neighbour_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = find_free_port()
    monkeypatch.setattr(ports, "RANK_PORTS", range(taken - PORTS_PER_JOB + 1, taken + 1))
    with socket.socket() as holder:
        holder.bind(("", taken))
        holder.listen()
        with pytest.raises(OSError, match="no free port"):
            find_free_port()
