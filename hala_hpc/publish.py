"""Write a result as a folder for the hub: `python -m hala_hpc.publish node=merge work=runs/demo`.

The folder `<work>/publish/<node>-…` has the files of a model or a corpus and a card in the hub's
format: lineage, data, settings, scores, hours, and the license that follows from all inputs. It is
checked; nothing leaves this machine unless upload=owner/name is given. That of an evaluation has
its scores and items in the form of Every Eval Ever, to send there by hand.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import os
import sys
from collections.abc import Mapping, Sequence

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.commands.arguments import add_default_work, is_true, parse_arguments
from hala_hpc.commands.command_line import run_command
from hala_hpc.core.errors import OK, UserError
from hala_hpc.core.hub import HUB_ID, parse_hub_reference
from hala_hpc.core.run import RunNode, read_run, resolve_work_folder
from hala_hpc.jobs.energy import measure_energy_kwh

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "node": "the node whose result is published: a model, a corpus or an evaluation",
    "upload": "owner/name on the hub, to upload the folder there (default: no upload)",
    "private": "true: a repository that the upload makes is private",
}


def publish(arguments: Sequence[str]) -> int:
    """Write and check the folder, and upload it if asked to."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    is_private = is_true(overrides, "private")
    overrides = add_default_work(overrides)
    if not overrides.get("node"):
        raise UserError("node= is missing: name the node whose result is published, as node=merge")
    target = overrides.get("upload", "")
    if target and (not HUB_ID.fullmatch(target) or parse_hub_reference(target).revision):
        raise UserError(f"upload={target}: write owner/name, without a revision")
    run = read_run(resolve_work_folder(overrides))
    node = run.find_node(overrides["node"])
    from hala_hpc.engines.publishing.upload_folder import (
        EVALUATION_STAGE,
        write_published_evaluation,
        write_published_folder,
    )

    if node.stage == EVALUATION_STAGE:
        if target:
            raise UserError(f"upload={target}: only models and corpora are uploaded; leave it out")
        print(f"folder: {write_published_evaluation(run, node)}", flush=True)
        return OK
    energy = measure_energy_kwh(run.work, SlurmBackend().query_usage)
    made = write_published_folder(
        run, node, target or node.name, read_job_environment(node), energy
    )
    print(f"license: {made.license.name}")
    print("\n".join(made.license.sentences()))
    print(f"folder: {made.path} ({made.size_bytes / 1e6:,.1f} MB)", flush=True)
    if target:
        from hala_hpc.commands.hub_upload import upload_folder

        print(f"uploaded: {upload_folder(made, target, is_private)}")
    return OK


def read_job_environment(node: RunNode) -> Mapping[str, str]:
    """The variables of the node's jobs, which name their hub cache; else those of this process."""
    newest = node.artifact.newest_round_if_valid()
    return {**os.environ, **(newest.spec.launcher.environment if newest else {})}


def main() -> None:
    """Command line of publish."""
    sys.exit(run_command(publish, sys.argv[1:]))


if __name__ == "__main__":
    main()
