"""How long the trainings of tests are that something happens to."""

import os

#: Part of their steps that such trainings make: 0.1 stands for a machine ten times as fast.
STEP_SHARE = float(os.environ.get("HALA_TEST_STEP_SHARE", "1"))


def steps(count: int) -> int:
    """Steps of a training of which no test names a step or looks at what it has learnt."""
    return max(2, round(count * STEP_SHARE))
