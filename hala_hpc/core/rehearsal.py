"""How much of a node is rehearsed: `rehearse=true` runs the whole chain small before its hours."""

#: Rows that each source gives: enough for shares of reasons within a few percent, minutes of one
#: engine.
ROWS = 300
#: Steps of a training: enough for a speed that no longer changes and a loss that falls.
STEPS = 30
#: Questions of each task of a benchmark.
QUESTIONS = 20
#: Least share of the rows that is held out, as the share of a full run leaves none of so few.
MIN_HELD_OUT_SHARE = 0.05
#: Before the name of a node that is rehearsed, so that its results are never taken for real ones.
REHEARSAL_PREFIX = "rehearse-"


def cap_setting(value: int | None, limit: int) -> int:
    """A limit of the settings, none of which is no limit, made smaller where it is larger."""
    return limit if value is None else min(value, limit)
