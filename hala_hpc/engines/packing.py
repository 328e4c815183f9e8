"""Packing: several examples in one sequence, as full as can be and none cut."""

from collections import defaultdict
from collections.abc import Sequence


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Put examples of so many tokens into sequences of at most `room`; numbers of each one's.

    Best-fit decreasing: the longest example first, each into the sequence with the least room that
    is enough (Ding et al., Fewer Truncations Improve Language Modeling, arXiv 2404.10830). Examples
    of one length are taken in the order given, so that the same lengths give the same sequences.
    TRL packs so as well (`pack_dataset`, strategy `bfd`), but does not tell which examples a
    sequence holds. No example may be longer than `room`.
    """
    sequences: list[list[int]] = []
    # Numbers of the sequences with so much room left, and these rooms as the bits of a number:
    # the lowest bit from `length` on is the best fit.
    open_ones: dict[int, list[int]] = defaultdict(list)
    rooms = 0
    for example in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        length = lengths[example]
        assert 0 < length <= room, (length, room)
        if fitting := rooms >> length:
            left = length + (fitting & -fitting).bit_length() - 1
            number = open_ones[left].pop()
            if not open_ones[left]:
                rooms ^= 1 << left
        else:
            left, number = room, len(sequences)
            sequences.append([])
        sequences[number].append(example)
        left -= length
        if left:
            open_ones[left].append(number)
            rooms |= 1 << left
    return sequences
