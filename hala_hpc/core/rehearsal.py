"""Limits of a rehearsal: `rehearse=true` runs the whole pipeline small before the full run."""

#: Rows of each source: enough for shares of reasons within a few percent, minutes of one engine.
ROWS = 300
#: Steps of a training: enough for a stable speed and a falling loss.
STEPS = 30
#: Questions of each task of a benchmark.
QUESTIONS = 20
#: Minimum share of held-out rows, as the share of a full run leaves none of so few.
MIN_HELD_OUT_SHARE = 0.05
#: Prefix of the names of rehearsed nodes, so that their results are never taken for real ones.
REHEARSAL_PREFIX = "rehearse-"


def cap_setting(value: int | None, limit: int) -> int:
    """Lower a setting to `limit` if it is larger; None means no limit."""
    return limit if value is None else min(value, limit)
