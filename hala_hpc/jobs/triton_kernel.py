"""A Triton kernel that doubles numbers, for the health probe.

Imported inside functions only, as it imports Triton, which requires kernels at module level.
"""

from typing import Any

import triton  # noqa: TID253
import triton.language as tl  # noqa: TID253


@triton.jit  # type: ignore[untyped-decorator]
def double(source, target, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def] # noqa: N803
    """Write twice the numbers of `source` into `target`, one block for each program instance."""
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = places < count
    tl.store(target + places, 2 * tl.load(source + places, mask=mask), mask=mask)


def doubled(numbers: Any) -> Any:
    """Twice the numbers of a one-dimensional tensor, computed on its device."""
    target = numbers.new_empty(numbers.shape)
    block = 256
    double[(triton.cdiv(len(numbers), block),)](numbers, target, len(numbers), BLOCK=block)
    return target
