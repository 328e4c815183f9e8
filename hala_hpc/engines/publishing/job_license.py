"""State the license that follows from all inputs in the card that a job writes, as in `publish`."""

import os
from pathlib import Path
from typing import Any

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import Damaged
from hala_hpc.engines.publishing.licenses import DerivedLicense, derive_license
from hala_hpc.engines.publishing.lineage import trace_outer_inputs


def state_license(data: Any, folder: Path) -> list[str]:
    """Set the license of a card's metadata, a `ModelCardData`; the lines of the card about it.

    `folder`: where the job writes its result, within the folder of its node. Outside of one, and if
    nothing but nodes is read, the metadata stay as they are.
    """
    derived = derive_license_of_job(folder)
    if derived is None or not derived.stated:
        return []
    strictest = derived.strictest
    data.license = derived.name
    data.license_name = derived.license_name
    data.license_link = (strictest.link or None) if strictest else None
    return ["## License", "", *derived.sentences(), ""]


def derive_license_of_job(folder: Path) -> DerivedLicense | None:
    """The license that follows from all inputs of the node around a folder; None without a node."""
    for parent in folder.absolute().parents:
        artifact = Artifact(parent)
        if artifact.config_file.is_file():
            try:
                return derive_license(trace_outer_inputs(artifact, os.environ))
            except Damaged:
                # The card is no reason to lose a training; `publish` derives it again.
                return None
    return None
