"""Create the work folder of a launch, set damaged files aside, and record the run."""

import os
import time
from pathlib import Path
from uuid import uuid4

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.damage import find_owner
from hala_hpc.core.errors import CANNOT_CREATE, UserError
from hala_hpc.core.paths import is_toml_path
from hala_hpc.core.printable import escape_controls
from hala_hpc.core.records import RunNodeRecord, RunRecord
from hala_hpc.core.run import run_file


def make_work_folder(work: Path) -> None:
    """Create the work folder and test that it is writable."""
    probe = work / f".probe-{os.getpid()}"
    try:
        work.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"work={work} cannot be written: {error.strerror}; name another folder with work=...",
            CANNOT_CREATE,
        ) from None


def require_own_run(work: Path) -> None:
    """Refuse a work folder whose run belongs to another user.

    Its owner could not read what is written here, and this user could not read what the owner
    writes. Raises: UserError (CANNOT_CREATE).
    """
    owner = find_owner(run_file(work))
    if owner not in (None, os.geteuid()):
        raise UserError(
            f"work={work} holds a run of another user (number {owner}): name another folder",
            CANNOT_CREATE,
        )


def set_aside_damaged_files(work: Path, chosen: dict[str, Step]) -> None:
    """Set damaged files aside and print their names.

    Raises: UserError if other users could have written the records that decide what jobs run.
    """
    from hala_hpc.jobs.quarantine import (
        quarantine_node_files,
        quarantine_run_files,
        require_own_records,
    )

    lines = quarantine_run_files(work)
    for step in chosen.values():
        lines += [
            f"{step.name}: {line}"
            for line in quarantine_node_files(step.artifact, step.state == "done")
        ]
    for line in lines:
        print(escape_controls(line))
    require_own_records([s.artifact for s in chosen.values() if s.state in ("partial", "damaged")])


def reset_damaged_nodes(missing: dict[str, Step]) -> None:
    """Make damaged nodes unfinished: remove the units and outputs that are incomplete."""
    for step in missing.values():
        if step.state == "damaged":
            from hala_hpc.jobs.repair import remove_broken_units, remove_summary

            print(f"{step.name}: {step.reason}: incomplete results are computed again")
            remove_broken_units(step.artifact, step.units)
            remove_summary(step.artifact)


def write_run(
    command_line: CommandLine, chosen: dict[str, Step], hours: dict[str, float | None]
) -> None:
    """Record the run for `status`, link its results, and write missing `config.json`."""
    RunRecord(
        overrides=make_file_paths_absolute(command_line.overrides),
        recipe=str(Path(command_line.recipe).absolute()),
        launcher=command_line.launcher.name,
        time=time.time(),
        budget_gpu_hours=command_line.launcher.budget_gpu_hours,
        nodes=tuple(
            RunNodeRecord(
                name=s.name,
                stage=s.node.stage.name,
                units=s.units,
                artifact=s.artifact.folder.name,
                gpu_hours=hours.get(s.name),
            )
            for s in chosen.values()
        ),
    ).write(run_file(command_line.work))
    link_latest(command_line.work, chosen)
    for step in chosen.values():
        if not step.artifact.config_file.exists():
            step.artifact.write_config(step.config(hours.get(step.name)))


def link_latest(work: Path, chosen: dict[str, Step]) -> None:
    """Point `latest/<node>` to the newest result of each node."""
    links = work / "latest"
    links.mkdir(exist_ok=True)
    for step in chosen.values():
        temporary = links / f".{step.name}.{uuid4().hex[:8]}"
        temporary.symlink_to(Path("..") / step.artifact.folder.name)
        temporary.replace(links / step.name)


def make_file_paths_absolute(overrides: dict[str, str]) -> dict[str, str]:
    """Overrides with absolute paths of files, so that they are valid in any folder."""
    files = {
        key: overrides[key]
        for key in ("recipe", "launcher")
        if is_toml_path(overrides.get(key, ""))
    }
    return {
        **overrides,
        **{key: str(Path(name).expanduser().absolute()) for key, name in files.items()},
    }
