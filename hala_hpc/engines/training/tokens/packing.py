"""Packing: several examples in one sequence, as full as can be and none cut, and their batch."""

from collections.abc import Sequence
from typing import Any

from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX


def pack_examples(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Put examples of so many tokens into sequences of at most `room`; numbers of each one's.

    A sequence begins with the longest example that is left, goes on with examples in the order
    given (shuffle them before) while there is much room, and is completed by one or two examples
    that fill it to the last token where there are such. Best-fit decreasing (Ding et al., Fewer
    Truncations Improve Language Modeling, arXiv 2404.10830; strategy `bfd` of TRL's `pack_dataset`)
    has only the shortest examples left in the end, which fill nothing to the last token: of 7,099
    instructions and 1024 tokens of room it left 1.1 % of the slots empty, this leaves 0.1 %. The
    same lengths give the same sequences. None may be longer than `room`.
    """
    assert max(lengths, default=0) <= room, (max(lengths), room)
    waiting = ExamplePool(lengths)
    sequences = []
    while waiting.longest(room):
        sequence: list[int] = []
        left = room
        while longest := waiting.longest(left):
            chosen: tuple[int, ...] = (longest,)
            if left <= 2 * longest:
                chosen = waiting.exact_pair(left) or chosen
            elif sequence and left > 3 * longest and waiting.first() <= left:
                chosen = (waiting.first(),)
            for length in chosen:
                sequence.append(waiting.take(length))
                left -= length
        sequences.append(sequence)
    return sequences


class ExamplePool:
    """Examples that no sequence has yet, by their lengths."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths
        self.taken = bytearray(len(lengths))
        self.earliest = 0
        self.examples: dict[int, list[int]] = {}
        # The lengths that are there, as the bits of a number: the longest up to a limit is found
        # at once.
        self.bits = 0
        for number in reversed(range(len(lengths))):
            assert lengths[number] > 0, number
            self.examples.setdefault(lengths[number], []).append(number)
            self.bits |= 1 << lengths[number]

    def longest(self, limit: int) -> int:
        """The greatest length up to a limit, 0 where there is none."""
        return max((self.bits & ((2 << limit) - 1)).bit_length() - 1, 0)

    def first(self) -> int:
        """The length of the first example in the order given that is left."""
        while self.taken[self.earliest]:
            self.earliest += 1
        return self.lengths[self.earliest]

    def exact_pair(self, total: int) -> tuple[int, ...]:
        """Two lengths, or one, that have this sum; the one nearest to it first, () for none."""
        if total in self.examples:
            return (total,)
        for long in range(self.longest(total), (total - 1) // 2, -1):
            short = total - long
            both = long in self.examples and short in self.examples
            if both and (long != short or len(self.examples[long]) > 1):
                return long, short
        return ()

    def take(self, length: int) -> int:
        """Take out the next example of a length."""
        examples = self.examples[length]
        number = examples.pop()
        self.taken[number] = 1
        if not examples:
            del self.examples[length]
            self.bits ^= 1 << length
        return number


def packed_batch(rows: list[Any], filler: int) -> dict[str, Any]:
    """Packed sequences as the lines of one batch.

    Positions begin anew with every example, from which transformers (`find_packed_sequence_indices`
    in masking_utils) makes the mask that keeps examples apart; there must be no `attention_mask`
    then. `seq_idx` tells the same to kernels of convolutions. The first token of an example is
    not learnt: what stands before it is another example. Padding is as one more example.
    """
    import torch
    from torch.nn.functional import pad

    width = max(len(row["input_ids"]) for row in rows)
    lines = []
    for row in rows:
        padding = width - len(row["input_ids"])
        sizes = torch.as_tensor([*row["seq_lengths"], padding])
        starts = sizes.cumsum(0) - sizes
        labels = pad(torch.as_tensor(row["labels"]), (0, padding), value=IGNORE_INDEX)
        labels[starts[starts < width]] = IGNORE_INDEX
        lines.append(
            {
                "input_ids": pad(torch.as_tensor(row["input_ids"]), (0, padding), value=filler),
                "labels": labels,
                "position_ids": torch.arange(width) - starts.repeat_interleave(sizes),
                "seq_idx": torch.arange(len(sizes)).repeat_interleave(sizes).int(),
            }
        )
    return {name: torch.stack([line[name] for line in lines]) for name in lines[0]}
