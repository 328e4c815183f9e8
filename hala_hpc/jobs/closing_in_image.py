"""Close a node in the image of its jobs, where the gate's own interpreter lacks their libraries.

The gate runs outside of the image, as it talks to SLURM. What `collect` computes needs the
libraries of the stage: a second process in the image does that, and only that.
"""

import logging
import subprocess
import sys

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.builds import lacks_job_libraries
from hala_hpc.core.damage import Damaged
from hala_hpc.jobs.spec import list_job_folders

logger = logging.getLogger(__name__)


def close_in_image(artifact: Artifact) -> None:
    """Let the image write the summary if all units are done. The gate then looks what was written:
    it decides itself if there is no summary.
    """
    newest = artifact.newest_round_if_valid()
    if newest is None or not newest.spec.launcher.interpreter.is_container:
        return
    if not lacks_job_libraries(sys.executable) or not is_complete(artifact):
        return
    launcher = newest.spec.launcher
    folders = list_job_folders(artifact, launcher)
    command = launcher.interpreter.wrap(folders, has_gpus=False)
    if flags := launcher.interpreter.srun_flags(folders):
        # A step beside that of the gate, in the resources of its job.
        command = ["srun", "--overlap", "--ntasks=1", *flags, *launcher.srun]
    command += [launcher.job_python_of(newest.spec.env), "-u", "-m", "hala_hpc.gate"]
    logger.info("%s is collected in its image", artifact.folder.name)
    try:
        code = subprocess.run([*command, str(artifact.folder)], check=False).returncode
    except OSError as error:
        logger.warning("the image cannot be entered: %s", error)
        return
    if code:
        logger.warning("the image ended with code %d", code)


def is_complete(artifact: Artifact) -> bool:
    """Whether all units of a node have their marker, and it has no summary."""
    try:
        config = artifact.require_config()
        return artifact.summary() is None and not artifact.missing_units(config.units)
    except Damaged:
        return False
