"""Lists of nodes as SLURM writes them, e.g. `gpu[01-03,7],login1`, read to names."""

import itertools
import re

#: One entry of a list of nodes, e.g. `login1` or `rack[0-1]node[01-16,20]`.
HOST = re.compile(r"(?:[^,\[\]]|\[[^\]]*\])+")
#: The numbers in brackets of an entry.
RANGES = re.compile(r"\[([^\]]*)\]")


def hosts(text: str) -> tuple[str, ...]:
    """The names in a list of nodes.

    >>> hosts("gpu[01-03,7],login1")
    ('gpu01', 'gpu02', 'gpu03', 'gpu7', 'login1')
    """
    if not text or text.startswith(("None", "(null)")):
        return ()
    return tuple(name for entry in HOST.findall(text) for name in names_of(entry))


def names_of(entry: str) -> list[str]:
    """`rack[0-1]node[1-2]` to rack0node1, rack0node2, rack1node1, rack1node2."""
    # Texts and contents of brackets take turns.
    parts = RANGES.split(entry)
    choices = [
        [number for one in part.split(",") for number in numbers_of(one)] if place % 2 else [part]
        for place, part in enumerate(parts)
    ]
    return ["".join(choice) for choice in itertools.product(*choices)]


def numbers_of(part: str) -> list[str]:
    """`01-03` to 01, 02, 03, with their zeros."""
    first, _, last = part.partition("-")
    if not last:
        return [first]
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
