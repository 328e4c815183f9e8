"""Inputs of a node as a login node knows them: their paths, and facts of their content."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.commands.planning.hub_commits import fingerprint_hub_input
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import UserError
from hala_hpc.core.fingerprint import fingerprint_path
from hala_hpc.core.hub import parse_hub_reference, repository_folder
from hala_hpc.core.paths import expand_path
from hala_hpc.core.records import HUB_INPUT, PATH_INPUT, InputFacts, NodeSummary


@dataclass(frozen=True)
class PlanInputs:
    """Inputs as the login node knows them: paths that may not exist yet."""

    inputs: Mapping[str, InputFacts]
    work: Path
    cache: Path | None
    """Hub cache that the jobs read; the one of this shell may be another."""

    def path(self, reference: str) -> str:
        """Path of an input.

        For `@node` the folder where its product will be, for fetched repositories of the hub their
        snapshot, else the reference as it is.
        """
        if not reference.startswith("@"):
            return str(self.snapshot(reference) or reference)
        name, _, rest = reference[1:].partition("/")
        folder = self.inputs[name].artifact
        assert folder is not None, reference
        return str(Artifact(self.work / folder).output / rest)

    def snapshot(self, reference: str) -> Path | None:
        """The snapshot of a reference in the hub cache of the jobs; None if there is none."""
        facts = self.inputs.get(reference)
        if self.cache is None or facts is None or facts.kind != HUB_INPUT or not facts.fingerprint:
            return None
        name = parse_hub_reference(reference).name
        repository = repository_folder(self.cache, facts.repository or "", name)
        folder = repository / "snapshots" / facts.fingerprint
        return folder if folder.is_dir() else None

    def summary(self, _reference: str) -> NodeSummary | None:
        """None: inputs are not read before the jobs run."""
        return None


def facts_of_path(setting: str, value: str) -> InputFacts | None:
    """Facts of a file or folder outside the work folder; None if it does not exist.

    Raises: UserError naming the setting if it cannot be read.
    """
    path = expand_path(setting, value)
    if not path.exists():
        return None
    try:
        return InputFacts(
            kind=PATH_INPUT, path=str(path.resolve()), fingerprint=fingerprint_path(path)
        )
    except OSError as error:
        user_error = convert_os_error(error)
        raise UserError(
            [f"{setting}: {text}" for text in user_error.mistakes], user_error.code
        ) from None


def replace_inputs_by_facts(value: Any, inputs: Mapping[str, InputFacts]) -> Any:
    """Replace paths of existing files by fingerprints, and hub references by commits.

    Lists and dicts are searched.
    """
    if isinstance(value, str) and value in inputs:
        if inputs[value].kind == PATH_INPUT:
            return [Path(value).name, inputs[value].fingerprint]
        if inputs[value].kind == HUB_INPUT:
            return fingerprint_hub_input(value, inputs[value])
    if isinstance(value, list):
        return [replace_inputs_by_facts(item, inputs) for item in value]
    if isinstance(value, dict):
        return {key: replace_inputs_by_facts(item, inputs) for key, item in value.items()}
    return value
