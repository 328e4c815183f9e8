"""Run a stage without worker and gate, with a unit context of folders and checks."""

import json
import os
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from checkout import STANDIN

from hala_hpc.core.errors import RETRY, TransientError, UserError
from hala_hpc.core.records import NodeSummary, UnitMarker
from hala_hpc.core.stage import Stage, UnitCounts
from hala_hpc.jobs.job_logging import set_up_logging

#: Variable that makes training ranks compute the loss as on a GPU.
FUSED_HEAD = "HALA_FUSED_HEAD"


@dataclass
class PlainInputs:
    """Inputs with given folders and summaries."""

    paths: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, NodeSummary] = field(default_factory=dict)

    def path(self, reference: str) -> str:
        return self.paths.get(reference, reference)

    def summary(self, reference: str) -> NodeSummary | None:
        return self.summaries.get(reference)


class PlainContext:
    """Unit context of one attempt in a folder; requests a stop after `stop_at` steps."""

    def __init__(self, base: Path, stage: Stage[Any], stop_at: float = float("inf")) -> None:
        self.base, self.stage, self.stop_at = base, stage, stop_at
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        # As in a job, all ranks of an attempt use the same name.
        self.worker, self.attempt = 0, os.environ.get("MASTER_PORT", uuid4().hex[:8])
        self.shared = base / "shared"
        self.cache = base / "cache"
        self.counts: dict[str, float] = {}
        self.facts: UnitCounts | None = None
        self.markers: dict[int, UnitMarker] = {}

    def folder(self, unit: int) -> Path:
        folder = self.base / "output" / str(unit)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def state_dir(self, unit: int) -> Path:
        folder = self.base / "kept" / str(unit)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def check_lease(self) -> None:
        pass

    def read_new_log(self) -> str:
        return ""

    def abort(self, error: TransientError) -> None:
        print(error, flush=True)
        os._exit(RETRY)

    def commit(self, unit: int) -> None:
        self.facts = self.stage.check(unit, self.folder(unit))
        self.facts.verify()
        self.markers[unit] = UnitMarker(unit=unit, **self.facts.as_dict())

    def report_progress(self, **counts: float) -> None:
        self.counts.update(counts)

    @property
    def stop_requested(self) -> bool:
        return self.counts.get("step", 0) >= self.stop_at

    @property
    def seconds_left(self) -> float | None:
        end = os.environ.get("HALA_JOB_END")
        return float(end) - time.time() if end else None


def run_plain(name: str, settings: dict[str, Any], base: Path, **out: Any) -> PlainContext:
    """Run all units of a stage in this process."""
    kind = import_module(f"hala_hpc.stages.{name}").STAGE
    stage = kind(kind.Settings(**settings), PlainInputs())
    place = PlainContext(base, stage, **out)
    stage.run(range(stage.plan()), place)
    return place


def run_rank(name: str, settings: str, base: str, stop_at: str) -> None:
    """Run one rank and exit: settings are JSON, unit counts are written to a file."""
    if gate := os.environ.get("HALA_STEP_GATE"):
        sys.path.insert(0, str(STANDIN))
        from step_gate import hold_trainings

        hold_trainings(Path(gate))
    if FUSED_HEAD in os.environ:
        from hala_hpc.engines.training.trainer import ExactTrainer

        ExactTrainer.fused_head = True
    set_up_logging()
    try:
        out = run_plain(name, json.loads(settings), Path(base), stop_at=float(stop_at))
    except (TransientError, UserError) as error:
        print(error, flush=True)
        os._exit(getattr(error, "code", RETRY))
    if out.facts:
        (Path(base) / "facts.json").write_text(json.dumps(out.facts.as_dict()))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    run_rank(*sys.argv[1:])
