"""Write the files of a node with any number of units, rounds and attempts, without running it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from command_line import recipe
from slow_run import SMALL

from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.commands.planning.work_folder import write_run
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.errors import RETRY, FailureClass
from hala_hpc.core.job_records import AttemptRecord, Failure, RoundFailures
from hala_hpc.core.records import Round, UnitMarker
from hala_hpc.jobs.attempt_records import AttemptName
from hala_hpc.jobs.log_file import format_log_head
from hala_hpc.jobs.spec import make_spec

CONTENT = b"x"


@dataclass(frozen=True)
class WideNode:
    """Overrides and folders of a run of one node, `corpus`."""

    overrides: list[str]
    work: Path
    artifact: Artifact


def wide_node(folder: Path, units: int = 1, rounds: int = 1, attempts: int = 1) -> WideNode:
    """Write an unfinished node: all units have their markers, but the gate has not closed it.

    Each round had `attempts` attempts, which were all preempted.
    """
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    data = folder / "rows.jsonl"
    text = f'[corpus]\nstage = "prepare"\ndata = "{data}"\nunits = {units}\n{SMALL}\n'
    work = folder / "work"
    overrides = ["stage=all", recipe(folder, text), f"work={work}", "launcher=local"]
    command_line = parse_command_line(overrides)
    step = make_plan(command_line.nodes, work, None)["corpus"]
    work.mkdir()
    write_run(command_line, {"corpus": step}, {})
    step.artifact.write_config(step.config())
    write_units(step)
    spec = make_spec(command_line.launcher, step.node.settings, step.node.stage.env, LaunchedCode())
    for number in range(1, rounds + 1):
        begun = Round(
            round=number,
            key=f"{number:08x}",
            assignment=(tuple(range(units)),),
            progress_before=(f"{number} units",),
            began=float(number),
            spec=spec.model_copy(update={"since_round": 1}),
        )
        write(step.artifact.round_file(number), begun.to_json())
        write_attempts(step.artifact, number, attempts)
    return WideNode(overrides, work, step.artifact)


def write(path: Path, text: str) -> None:
    """Write without fsync, which would take most of the time of a test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def write_units(step: Step) -> None:
    """Write markers and files of all units, with one row each."""
    files = {"files_read": 1, "files_unread": 0, "unread": []}
    details = {"input_rows": step.units, "input": "0", "kind": "conversations", **files}
    details["quality"] = {}
    details["damaged"] = {}
    digest = hashlib.sha256(CONTENT).hexdigest()
    for unit in range(step.units):
        name = f"part-{unit:05d}.parquet"
        marker = UnitMarker(
            unit=unit,
            rows_in=1,
            rows_out=1,
            details=details,
            files={name: len(CONTENT)},
            sha256={name: digest},
        )
        write(step.artifact.marker_file(unit), marker.to_json())
        folder = step.artifact.unit_folder(unit)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(CONTENT)


def write_attempts(artifact: Artifact, number: int, attempts: int) -> None:
    """Write what the attempts of a round leave: records, parts of a log, the gate's findings."""
    failures = []
    log = artifact.log_file(0)
    log.parent.mkdir(exist_ok=True)
    for job in range(attempts):
        name = str(AttemptName(number, 0, str(1000 * number + job), 0))
        kind, reasons = FailureClass.PREEMPTED, ("stopped",)
        record = AttemptRecord(round=number, worker=0, code=RETRY, kind=kind, reasons=reasons)
        write(artifact.attempt_file(name), record.to_json())
        failures.append(Failure(kind=kind, text="preempted", attempt=name))
        with log.open("ab") as file:
            file.write(format_log_head(name) + b"a line\n")
    found = RoundFailures(failures=tuple(failures))
    write(artifact.failures_file(number), json.dumps(found.to_values()))
