"""Collective operations of the ranks of a training; all ranks must call each function."""

import errno
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from hala_hpc.core.errors import CANNOT_CREATE, FailureClass, TransientError, UserError

T = TypeVar("T")
#: Error numbers of a full disk: another attempt would fail in the same way.
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
#: Phrases in errors of collectives about a lost peer; gloo has no exception type of its own.
LOST_PEER_PHRASES = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")


def rank_and_world() -> tuple[int, int]:
    """Return the number of this rank and the world size; (0, 1) for a single rank."""
    if "torch" not in sys.modules:
        return 0, 1  # without torch there is no process group
    from torch import distributed

    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def any_rank(device: Any, *flags: Any) -> list[bool]:
    """Return each flag, true if it is set on any rank. A flag may be a tensor on `device`.

    One collective and one copy to the host, for any number of flags.
    """
    import torch
    from torch import distributed

    parts = [torch.as_tensor(flag, device=device).reshape(1).to(torch.int32) for flag in flags]
    votes = torch.cat(parts)
    if distributed.is_initialized():
        distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def min_across_ranks(device: Any, number: int) -> int:
    """Return the smallest of the ranks' numbers, all of them below 2^63."""
    import torch
    from torch import distributed

    smallest = torch.tensor(number, device=device)
    if distributed.is_initialized():
        distributed.all_reduce(smallest, op=distributed.ReduceOp.MIN)
    return int(smallest)


def sum_across_ranks(value: Any) -> float:
    """Return the sum of a number that each rank has on its device."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.all_reduce(value)
    return float(value)


def wait_for_all_ranks() -> None:
    """Wait until every rank has called this."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()


def run_on_all_ranks(work: Callable[[], T]) -> list[T]:
    """Call `work` on every rank and return its results by rank.

    An error on one rank is raised on all, so that no rank waits for another.

    Raises: UserError (CANNOT_CREATE) for a full disk, TransientError for any other OSError, and a
    UserError or TransientError of `work` as it is. A TransientError of another rank has the
    failure class SECONDARY here.
    """
    mine: tuple[T | None, tuple[str, int] | None]
    own: FailureClass | None = None
    try:
        mine = work(), None
    except (OSError, UserError, TransientError) as error:
        mine, own = (None, describe_error(error)), getattr(error, "kind", None)
    rank, world = rank_and_world()
    found: list[Any] = [mine]
    if world > 1:
        from torch import distributed

        found = [None] * world
        distributed.all_gather_object(found, mine)
    failed = [(number, error) for number, (_, error) in enumerate(found) if error]
    if failed:
        number, (text, code) = failed[0]
        kind = own if number == rank else FailureClass.SECONDARY
        text = text if number == rank else f"rank {number}: {text}"
        raise UserError(text, code) if code else TransientError(text, kind)
    return [value for value, _ in found]


def describe_error(error: Exception) -> tuple[str, int]:
    """Return the text of an error and its exit code, 0 if another attempt may succeed."""
    if isinstance(error, UserError):
        return str(error), error.code
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRORS:
        return f"a checkpoint cannot be saved: {error}; free disk space", CANNOT_CREATE
    return str(error), 0


def is_lost_rank(error: BaseException) -> bool:
    """Whether a collective failed because another rank has ended or does not answer."""
    from torch import distributed

    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(
        phrase in str(error).lower() for phrase in LOST_PEER_PHRASES
    )
