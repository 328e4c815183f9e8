"""A word of ten times the letters takes about ten times the work, whatever looks at it.

Instructions of `re` cannot be counted, so CPU time of the best of several runs is compared; work
that grows with the square would take a hundred times.
"""

import time
from collections.abc import Callable

from hala_hpc.data.segmentation.code_lines import code_blocks
from hala_hpc.data.segmentation.spans import protected_spans


def min_cpu_s(function: Callable[[str], object], text: str) -> float:
    """The minimum of the CPU seconds of five calls."""
    times = []
    for _ in range(5):
        started = time.thread_time()
        function(text)
        times.append(time.thread_time() - started)
    return min(times)


def test_a_long_word_takes_linear_time() -> None:
    for function in (code_blocks, protected_spans):
        for around in ("{}", "f(x) = {}", "It costs ${}$ or", "See \\textbf{{{}}} here"):
            short, long = around.format("a" * 190), around.format("a" * 1900)
            assert min_cpu_s(function, long) <= 30 * min_cpu_s(function, short) + 1e-3, around
