"""Create the work folder of a launch, set damaged files aside, and record the run."""

import os
import time
from pathlib import Path
from uuid import uuid4

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.planning.recipe_text import make_recipe_paths_absolute
from hala_hpc.core.damage import find_owner
from hala_hpc.core.errors import CANNOT_CREATE, UserError
from hala_hpc.core.files import write_text
from hala_hpc.core.paths import is_toml_path
from hala_hpc.core.printable import escape_controls
from hala_hpc.core.records import RunNodeRecord, RunRecord
from hala_hpc.core.run import recipe_copy, run_file
from hala_hpc.core.sharing import folder_bits, is_sharing, require_share, user_name

#: States of nodes whose records decide what their next jobs run.
STARTED = ("partial", "damaged", "cleaned")


def make_work_folder(work: Path) -> None:
    """Create the work folder and test that it is writable."""
    probe = work / f".probe-{os.getpid()}"
    try:
        if not work.is_dir():
            work.mkdir(parents=True)
            if is_sharing():
                work.chmod(folder_bits())
        require_share(work)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"work={work} cannot be written: {error.strerror}; name another folder with work=...",
            CANNOT_CREATE,
        ) from None


def require_own_run(work: Path) -> None:
    """Refuse a work folder whose run belongs to another user, unless both share it.

    Its owner could not read what is written here, and this user could not read what the owner
    writes. Raises: UserError (CANNOT_CREATE).
    """
    owner = find_owner(run_file(work))
    if owner not in (None, os.geteuid()) and not is_sharing():
        raise UserError(
            f"work={work} holds a run of another user ({user_name(owner or 0)}): name another "
            'folder; to go on with it, launchers of both need share = "group"',
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
    require_own_records([s.artifact for s in chosen.values() if s.state in STARTED])


def reset_damaged_nodes(missing: dict[str, Step]) -> None:
    """Make damaged and cleaned nodes unfinished: remove units and outputs that are incomplete."""
    for step in missing.values():
        if step.state in ("damaged", "cleaned"):
            from hala_hpc.jobs.repair import remove_broken_units, remove_summary

            if step.state == "damaged":
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
    if is_sharing():
        copy_recipe(command_line)
    link_latest(command_line.work, chosen)
    for step in chosen.values():
        if not step.artifact.config_file.exists():
            step.artifact.write_config(step.config(hours.get(step.name)))


def copy_recipe(command_line: CommandLine) -> None:
    """Copy the recipe of a shared run into its folder, for members who cannot read the file."""
    source = Path(command_line.recipe).absolute()
    target = recipe_copy(command_line.work, str(source))
    if source != target:
        text = make_recipe_paths_absolute(source.read_text(encoding="utf-8"), source.parent)
        write_text(target, text)


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
