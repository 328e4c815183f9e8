"""With this folder on PYTHONPATH and HALA_STANDIN set, jobs take the stand-in for their engine."""

import os

if os.environ.get("HALA_STANDIN"):
    from standin_engine import StandInGenerator

    import hala_hpc.engines.generate

    hala_hpc.engines.generate.Generator = StandInGenerator  # type: ignore[assignment,misc]
