"""Distribute the rows of a step to ranks and split them into full passes of similar size.

A pass is one forward and backward computation of one rank; its rows are padded to its longest. Its
size is counted in padded tokens: rows times the longest. Packed sequences, concatenated, are no
longer than that.

The result depends on the rows of the step, not on the split. All ranks run the same number of
passes in a step, because ZeRO synchronizes them in each pass. That number differs from step to
step. Rows of similar length share a pass, and passes of similar size run at the same time: a rank
that has finished waits for the others.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

#: Fixed cost of a pass, in tokens: kernels are launched, weights are read, and ZeRO-2 and 3 reduce
#: gradients. Neither value was measured. On GPUs some thousand kernels of 10 microseconds take the
#: time of 2,000 tokens of a 1.2B model at 400 TFLOP/s; on CPUs a launch costs little compared with
#: the computation.
GPU_PASS_COST_TOKENS = 2048
CPU_PASS_COST_TOKENS = 128


class StepCut(NamedTuple):
    """The number of ranks that share a step, and the maximum size of its passes."""

    ranks: int
    micro_batch_tokens: int
    """Maximum padded tokens of a pass; a longer row is a pass of its own."""
    pass_cost_tokens: int = GPU_PASS_COST_TOKENS


class PassCounts(NamedTuple):
    """Passes and tokens of a step, to measure padding."""

    passes: int
    tokens: int
    padded_tokens: int
    """With padding."""


def plan_passes(lengths: Sequence[int], cut: StepCut) -> list[list[list[int]]]:
    """Return for each rank its passes, and for each pass its rows as indexes into `lengths`.

    `lengths` are the tokens of the rows of a step; their number is a multiple of the ranks. Every
    row occurs once, every rank has the same number of passes, and no pass is empty. The longest
    row of a pass comes first, and the largest passes come first: out of memory shows at once.
    """
    assert len(lengths) % cut.ranks == 0, (len(lengths), cut)
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    found = [order[first:last] for first, last in pairwise(choose_pass_ends(lengths, order, cut))]
    found.sort(key=lambda rows: -padded_size(lengths, rows))
    dealt: list[list[list[int]]] = [[] for _ in range(cut.ranks)]
    for number in range(0, len(found), cut.ranks):
        together = found[number : number + cut.ranks]
        # Alternate the direction: no rank gets the largest pass of every round.
        turn = together if number // cut.ranks % 2 == 0 else together[::-1]
        for rank, rows in enumerate(turn):
            dealt[rank].append(rows)
    return dealt


def padded_size(lengths: Sequence[int], rows: Sequence[int]) -> int:
    """Return the padded tokens of a pass; its longest row comes first."""
    return lengths[rows[0]] * len(rows)


def count_passes(lengths: Sequence[int], dealt: list[list[list[int]]]) -> PassCounts:
    """Count the passes, tokens and padded tokens of all ranks in a step."""
    passes = [rows for own in dealt for rows in own]
    padded = sum(padded_size(lengths, rows) for rows in passes)
    return PassCounts(len(passes), sum(lengths), padded)


def choose_pass_ends(lengths: Sequence[int], order: Sequence[int], cut: StepCut) -> list[int]:
    """Return the boundaries of the passes in `order` (rows by descending length), 0 first.

    Fewer passes hold more padding. Several numbers of passes are tried, and the one with the
    shortest step is chosen. A step takes the time of the largest pass in each round of passes.
    """
    sizes = [lengths[place] for place in order]
    rounds = -(-len(ends_within(sizes, cut.micro_batch_tokens)) // cut.ranks)
    best_cost, best = float("inf"), [len(sizes)]
    # Stop when more passes would not be faster even without padding.
    while rounds * cut.pass_cost_tokens + sum(sizes) / cut.ranks < best_cost:
        ends = even_ends(sizes, rounds * cut.ranks, cut.micro_batch_tokens)
        widths = [sizes[first] * (last - first) for first, last in pairwise([0, *ends])]
        slowest = sorted(widths, reverse=True)[:: cut.ranks]
        cost = sum(slowest) + rounds * cut.pass_cost_tokens
        if cost < best_cost:
            best_cost, best = cost, ends
        # A quarter more each time: a large step has several hundred rounds of small passes.
        rounds += max(1, rounds // 4)
        if rounds * cut.ranks > len(sizes):
            break
    return [0, *best]


def ends_within(sizes: Sequence[int], limit: int) -> list[int]:
    """Return the ends of the fewest runs of consecutive rows of at most `limit` padded tokens."""
    ends, place = [], 0
    while place < len(sizes):
        place = min(place + max(1, limit // sizes[place]), len(sizes))
        ends.append(place)
    return ends


def even_ends(sizes: Sequence[int], count: int, limit: int) -> list[int]:
    """Return the ends of `count` runs whose largest is as small as possible and within `limit`."""
    lower, upper = 1, limit
    while lower < upper:
        middle = (lower + upper) // 2
        if len(ends_within(sizes, middle)) <= count:
            upper = middle
        else:
            lower = middle + 1
    ends = ends_within(sizes, upper)
    while len(ends) < count:
        parts = pairwise([0, *ends])
        _, first, last = max((sizes[a] * (b - a), a, b) for a, b in parts if b - a > 1)
        ends.append((first + last) // 2)
        ends.sort()
    return ends
