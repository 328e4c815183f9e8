"""With this folder on PYTHONPATH, jobs find the engines of tests (see `job_engines.py`).

With HALA_FAULT set, jobs meet a fault (see `faults.py`). With HALA_STEP_GATE set, trainings wait at
their steps for a file (see `step_gate.py`). With HALA_REWORDED set, all messages of the package
are changed (see `../wording/reworded.py`).
"""

import os
import sys

if folder := os.environ.get("HALA_REWORDED"):
    # This file stands in the place of that of the folder.
    sys.path.append(folder)
    import reworded

    reworded.install()

if gate := os.environ.get("HALA_STEP_GATE"):
    from pathlib import Path

    from step_gate import hold_trainings

    hold_trainings(Path(gate))

if os.environ.get("HALA_FAULT"):
    import faults

    faults.meet_faults()
