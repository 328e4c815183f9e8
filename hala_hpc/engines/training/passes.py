"""How the rows of a step are dealt to ranks and cut into passes that are full and take as long.

A pass is one forward and backward computation of one rank; its rows are padded to its longest. Its
size is that in padded tokens: rows times the longest. Packed sequences, laid end to end, are no
longer than that.

What decides the result is the step, whose rows stay the same however they are cut. All ranks take
the same number of passes in a step, as ZeRO lets them meet in each; that number differs from step
to step. So rows of like length share a pass, and passes of like size are computed at the same time:
who is done waits for the others.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

#: What a pass costs beside its tokens, in tokens: kernels are started, weights are read, and ZeRO-2
#: and 3 sum up gradients. Neither was measured. On GPUs some thousand kernels of 10 microseconds
#: take the time of 2,000 tokens of a 1.2B model at 400 TFLOP/s; on CPUs starting one costs little
#: beside what it computes.
GPU_PASS_COST_TOKENS = 2048
CPU_PASS_COST_TOKENS = 128


class StepCut(NamedTuple):
    """Among how many ranks a step is dealt, and how large its passes may be."""

    ranks: int
    micro_batch_tokens: int
    """Padded tokens of a pass at most; a row longer than that is a pass alone."""
    pass_cost_tokens: int = GPU_PASS_COST_TOKENS


class PassCounts(NamedTuple):
    """How full passes are."""

    passes: int
    tokens: int
    padded_tokens: int
    """With padding."""


def plan_passes(lengths: Sequence[int], cut: StepCut) -> list[list[list[int]]]:
    """For each rank its passes, for each pass its rows as places in `lengths`, longest first.

    `lengths` are the tokens of the rows of a step, a multiple of the ranks of them. Every row comes
    once, every rank has as many passes as the others, and no pass is empty. The largest passes
    come first, so that a lack of memory shows at once.
    """
    assert len(lengths) % cut.ranks == 0, (len(lengths), cut)
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    found = [order[first:last] for first, last in pairwise(choose_pass_ends(lengths, order, cut))]
    found.sort(key=lambda rows: -padded_size(lengths, rows))
    dealt: list[list[list[int]]] = [[] for _ in range(cut.ranks)]
    for number in range(0, len(found), cut.ranks):
        together = found[number : number + cut.ranks]
        # Nobody has the largest of every round.
        turn = together if number // cut.ranks % 2 == 0 else together[::-1]
        for rank, rows in enumerate(turn):
            dealt[rank].append(rows)
    return dealt


def padded_size(lengths: Sequence[int], rows: Sequence[int]) -> int:
    """Padded tokens of a pass whose longest row comes first."""
    return lengths[rows[0]] * len(rows)


def count_passes(lengths: Sequence[int], dealt: list[list[list[int]]]) -> PassCounts:
    """How full the passes of all ranks in a step are."""
    passes = [rows for own in dealt for rows in own]
    padded = sum(padded_size(lengths, rows) for rows in passes)
    return PassCounts(len(passes), sum(lengths), padded)


def choose_pass_ends(lengths: Sequence[int], order: Sequence[int], cut: StepCut) -> list[int]:
    """Where the passes begin and end in `order`, the rows by falling length: 0 and the ends.

    Fewer passes hold more padding. Of some numbers the one is taken with which a step takes the
    shortest time: each time that the ranks compute, the largest of their passes.
    """
    sizes = [lengths[place] for place in order]
    rounds = -(-len(ends_within(sizes, cut.micro_batch_tokens)) // cut.ranks)
    best_cost, best = float("inf"), [len(sizes)]
    # Not even without padding would more passes be faster than that.
    while rounds * cut.pass_cost_tokens + sum(sizes) / cut.ranks < best_cost:
        ends = even_ends(sizes, rounds * cut.ranks, cut.micro_batch_tokens)
        widths = [sizes[first] * (last - first) for first, last in pairwise([0, *ends])]
        slowest = sorted(widths, reverse=True)[:: cut.ranks]
        cost = sum(slowest) + rounds * cut.pass_cost_tokens
        if cost < best_cost:
            best_cost, best = cost, ends
        # A quarter more each time: a large step has some hundred rounds of small passes.
        rounds += max(1, rounds // 4)
        if rounds * cut.ranks > len(sizes):
            break
    return [0, *best]


def ends_within(sizes: Sequence[int], limit: int) -> list[int]:
    """Ends of the fewest pieces of consecutive rows, each of at most `limit` padded tokens."""
    ends, place = [], 0
    while place < len(sizes):
        place = min(place + max(1, limit // sizes[place]), len(sizes))
        ends.append(place)
    return ends


def even_ends(sizes: Sequence[int], count: int, limit: int) -> list[int]:
    """Ends of so many pieces, the largest as small as can be; `limit` is large enough for them."""
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
