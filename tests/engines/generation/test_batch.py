"""Answers to a list of prompts: the engine is watched, and progress is reported from the start."""

import subprocess
import sys
from typing import Any

import pytest
from checkout import STANDIN
from standin_engine import StandInEngine, stand_in_config

from hala_hpc.core.errors import RETRY, StopRequested
from hala_hpc.engines.generation.batch import AnswerCount, answer_all

#: An evaluation whose engine ends no step.
HANGING = """
import os, sys
sys.path.append(sys.argv[1])
from standin_engine import StandInEngine, stand_in_config
from hala_hpc.engines.generation.batch import AnswerCount, answer_all
class Out:
    stop_requested = False
    def report_progress(self, **counts): pass
    def abort(self, error):
        print(type(error).__name__, error.kind, flush=True)
        os._exit(75)
engine = StandInEngine(stand_in_config(step_timeout_s=1, max_model_len=1024))
answer_all(engine, ["one", "two"], "", AnswerCount(Out()))
"""


class Watched:
    """Stores the counts that users see."""

    def __init__(self, stop: bool = False) -> None:
        self.counts: dict[str, float] = {}
        self.stop_requested = stop

    def report_progress(self, **counts: float) -> None:
        self.counts.update(counts)

    def abort(self, error: Exception) -> None:
        raise AssertionError(error)


class Observed(StandInEngine):
    """Stores before each step the counts that users see."""

    out: Watched
    reported: list[dict[str, float]]

    def step(self) -> Any:
        self.reported.append(dict(self.out.counts))
        return super().step()


def observed_engine(out: Watched) -> Observed:
    found = Observed(stand_in_config(max_num_seqs=2, max_model_len=1024))
    found.out, found.reported = out, []
    return found


def test_an_engine_that_hangs_in_an_evaluation_is_left() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING, str(STANDIN)],
        env={"HALA_STANDIN_STEP_S": "60"},
        capture_output=True,
        text=True,
        check=False,
        timeout=40,
    )
    assert (done.returncode, done.stdout) == (RETRY, "EngineHung engine\n"), done.stderr


def test_rows_are_reported_while_the_first_answers_are_pending() -> None:
    out = Watched()
    engine = observed_engine(out)
    progress: Any = AnswerCount(out, rows_of_node=10)  # type: ignore[arg-type]
    answer_all(engine, ["a", "b", "a", "c", "x" * 2000], "", progress)
    assert engine.reported[0] == {"rows": 0, "tokens": 0, "rows_of_node": 10}
    assert engine.reported[1]["rows"] == 3, "a prompt that occurs twice is two rows"
    assert out.counts["rows"] == 5, "also the one that was too long"
    answer_all(engine, ["d"], "", progress)
    assert out.counts["rows"] == 6


def test_an_evaluation_that_must_stop_raises_stop_requested() -> None:
    out = Watched(stop=True)
    with pytest.raises(StopRequested):
        answer_all(observed_engine(out), ["a"], "", AnswerCount(out))  # type: ignore[arg-type]
