"""With this folder on PYTHONPATH and HALA_STANDIN set, jobs take the stand-in for their engine.

With HALA_ENGINE_LOG set, the real engine notes each answer in that file as the stand-in does. With
HALA_FAULT set, jobs meet a fault (see `faults.py`). With HALA_STEP_GATE set, trainings wait at
their steps for a file (see `step_gate.py`). With HALA_REWORDED set, the package says everything in
other words (see `../wording/reworded.py`).
"""

import os
import sys

if folder := os.environ.get("HALA_REWORDED"):
    # This file stands in the place of that of the folder.
    sys.path.append(folder)
    import reworded

    reworded.install()

if os.environ.get("HALA_STANDIN"):
    from standin_engine import StandInGenerator

    import hala_hpc.engines.generation.vllm.engine

    hala_hpc.engines.generation.vllm.engine.Generator = StandInGenerator  # type: ignore[assignment,misc]
elif os.environ.get("HALA_ENGINE_LOG"):
    from standin_log import note_real_answers

    note_real_answers(os.environ["HALA_ENGINE_LOG"])

if gate := os.environ.get("HALA_STEP_GATE"):
    from pathlib import Path

    from step_gate import hold_trainings

    hold_trainings(Path(gate))

if fault := os.environ.get("HALA_FAULT"):
    import faults

    faults.meet(fault)
