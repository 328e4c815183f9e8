"""Finds how many tokens a batch should have: more while that is faster and fits into memory."""

from dataclasses import dataclass, field

#: Tokens of the first batches: a device is not idle, and hardly any memory is too small.
FIRST_TOKENS_CPU, FIRST_TOKENS_GPU = 512, 4096
#: Twice the tokens must be faster by this factor to be worth their memory.
WORTHWHILE = 1.05
#: Batches that are timed at each size; the best counts, as the first may compile.
TIMED_BATCHES = 2


@dataclass
class BatchBudget:
    """Tokens of a batch, with padding: doubled while tokens/s grow, halved if memory is short."""

    tokens: int
    rates: dict[int, list[float]] = field(default_factory=dict)
    """Tokens/s of batches by budget."""
    is_found: bool = False

    def record(self, tokens: int, padded: int, seconds: float) -> None:
        """Count a batch of so many tokens, and so many with padding; the budget may change.

        A batch that does not fill the budget changes nothing.
        """
        if self.is_found or padded < self.tokens // 2:
            return
        timed = self.rates.setdefault(self.tokens, [])
        timed.append(tokens / max(seconds, 1e-9))
        if len(timed) < TIMED_BATCHES:
            return
        smaller = self.rates.get(self.tokens // 2)
        if smaller is None or max(timed) > WORTHWHILE * max(smaller):
            self.tokens *= 2
        else:
            self.tokens //= 2
            self.is_found = True

    def halve(self) -> bool:
        """Take half of the budget, and no more later; False if nothing is left to halve."""
        self.is_found = True
        self.tokens //= 2
        return self.tokens > 0
