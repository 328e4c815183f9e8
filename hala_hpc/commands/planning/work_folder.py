"""The work folder of a line: made, mended, and told what the line means."""

import os
import time
from pathlib import Path
from uuid import uuid4

from hala_hpc.commands.command_line import Line
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.damage import owner_of
from hala_hpc.core.errors import CANNOT_CREATE, UserError
from hala_hpc.core.paths import is_path
from hala_hpc.core.printable import printable
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
    owner = owner_of(run_file(work))
    if owner not in (None, os.geteuid()):
        raise UserError(
            f"work={work} holds a run of another user (number {owner}): name a folder of your own",
            CANNOT_CREATE,
        )


def mend(work: Path, chosen: dict[str, Step]) -> None:
    """Put aside what is damaged, and say so.

    Raises UserError where other users could have written what jobs would be run by.
    """
    from hala_hpc.jobs.mending import mend_node, mend_work_folder, require_own_records

    lines = mend_work_folder(work)
    for step in chosen.values():
        lines += [f"{step.name}: {line}" for line in mend_node(step.artifact, step.state == "done")]
    for line in lines:
        print(printable(line))
    require_own_records([s.artifact for s in chosen.values() if s.state in ("partial", "damaged")])


def repair(missing: dict[str, Step]) -> None:
    """Let finished nodes whose files are not whole be unfinished, as far as they are not whole."""
    for step in missing.values():
        if step.state == "damaged":
            from hala_hpc.jobs.repair import forget_broken_units, forget_node

            print(f"{step.name}: {step.because}: what is not whole is made again")
            forget_broken_units(step.artifact, step.units)
            forget_node(step.artifact)


def write_run(line: Line, chosen: dict[str, Step], hours: dict[str, float | None]) -> None:
    """Note what this line means, for `status`, make the links of the run, and tell each node that
    has none its settings.
    """
    RunRecord(
        words=with_absolute_files(line.words),
        recipe=str(Path(line.recipe).absolute()),
        launcher=line.launcher.name,
        time=time.time(),
        budget_gpu_hours=line.launcher.budget_gpu_hours,
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
    ).write(run_file(line.work))
    link_latest(line.work, chosen)
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


def with_absolute_files(words: dict[str, str]) -> dict[str, str]:
    """The words of a line, so that it can be given from any folder."""
    files = {word: words[word] for word in ("recipe", "launcher") if is_path(words.get(word, ""))}
    return {
        **words,
        **{word: str(Path(name).expanduser().absolute()) for word, name in files.items()},
    }
