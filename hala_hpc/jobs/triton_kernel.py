"""A kernel of Triton that doubles numbers. Imported inside functions only, as it imports Triton,
which wants a kernel at the top of a file.
"""

from typing import Any

import triton  # noqa: TID253
import triton.language as tl  # noqa: TID253


@triton.jit  # type: ignore[untyped-decorator]
def double(source, target, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def] # noqa: N803
    """Write twice the numbers of `source` into `target`, a block of them in each program."""
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = places < count
    tl.store(target + places, 2 * tl.load(source + places, mask=mask), mask=mask)


def doubled(numbers: Any) -> Any:
    """Twice the numbers of a tensor of one dimension, calculated where it lies."""
    target = numbers.new_empty(numbers.shape)
    block = 256
    double[(triton.cdiv(len(numbers), block),)](numbers, target, len(numbers), BLOCK=block)
    return target
