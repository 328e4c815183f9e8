"""Length of the trainings that tests interrupt."""

import os

#: Fraction of the steps that such trainings run: 0.1 simulates a machine ten times as fast.
STEP_SHARE = float(os.environ.get("HALA_TEST_STEP_SHARE", "1"))


def steps(count: int) -> int:
    """Steps of a training if the test depends neither on step numbers nor on the trained model."""
    return max(2, round(count * STEP_SHARE))
