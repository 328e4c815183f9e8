"""The work folder of a line: made, mended, and told what the line means."""

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
    """Make the work folder and prove that it can be written."""
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
    """Raise UserError where the run of a folder is that of another user.

    Its owner could not read what is written here, nor this user what he writes.
    """
    owner = find_owner(run_file(work))
    if owner not in (None, os.geteuid()):
        raise UserError(
            f"work={work} holds a run of another user (number {owner}): name a folder of your own",
            CANNOT_CREATE,
        )


def set_aside_damaged_files(work: Path, chosen: dict[str, Step]) -> None:
    """Put aside what is damaged, and say so.

    Raises UserError where other users could have written what jobs would be run by.
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
    """Let finished nodes whose files are not whole be unfinished, as far as they are not whole."""
    for step in missing.values():
        if step.state == "damaged":
            from hala_hpc.jobs.repair import remove_broken_units, remove_summary

            print(f"{step.name}: {step.reason}: what is not whole is made again")
            remove_broken_units(step.artifact, step.units)
            remove_summary(step.artifact)


def write_run(
    command_line: CommandLine, chosen: dict[str, Step], hours: dict[str, float | None]
) -> None:
    """Note what this line means, for `status`, make the links of the run, and tell each node that
    has none its settings.
    """
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
    """Let `latest/<node>` be the newest result of each node."""
    links = work / "latest"
    links.mkdir(exist_ok=True)
    for step in chosen.values():
        temporary = links / f".{step.name}.{uuid4().hex[:8]}"
        temporary.symlink_to(Path("..") / step.artifact.folder.name)
        temporary.replace(links / step.name)


def make_file_paths_absolute(overrides: dict[str, str]) -> dict[str, str]:
    """The words of a line, so that it can be given from any folder."""
    files = {
        key: overrides[key]
        for key in ("recipe", "launcher")
        if is_toml_path(overrides.get(key, ""))
    }
    return {
        **overrides,
        **{key: str(Path(name).expanduser().absolute()) for key, name in files.items()},
    }
