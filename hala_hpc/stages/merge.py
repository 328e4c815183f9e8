"""merge: merge tuned models and their base by one of the methods of mergekit."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.engines.models.files import (
    find_folder,
    local_model,
    read_model_config,
    require_model,
    require_safetensors,
)
from hala_hpc.engines.models.host_fit import merging_fit
from hala_hpc.engines.models.merging.layer_kinds import LayerMap, kind_faults
from hala_hpc.engines.models.merging.methods import METHODS, method_faults
from hala_hpc.engines.models.merging.settings import MergeSettings

if TYPE_CHECKING:
    from hala_hpc.engines.models.merging.merge_pass import Parents


class Settings(MergeSettings):
    """Settings of merge."""

    resources: Resources = Resources(cpus_per_rank=4, mem_gb=32)
    """Resources of the job; it needs no GPU."""


class Merge(Stage[Settings]):
    """A stage of one unit: the merged model."""

    name = "merge"
    version = 3
    produces = "model"
    Settings = Settings

    def settings_in_sweep(self, others: Sequence[StageSettings]) -> StageSettings:
        """Return the settings with those of the other merges of the sweep in `beside`."""
        beside = [one.model_dump(mode="json", exclude={"resources", "beside"}) for one in others]
        return self.settings.model_copy(update={"beside": beside})

    def preflight(self) -> list[str]:
        """Find wrong parameters, kinds without a tensor, and equal models."""
        settings = self.settings
        faults = method_faults(settings, len(settings.model))
        for setting, model in (
            ("base", settings.base),
            *(("model", one) for one in settings.model),
        ):
            require_model(model, setting)
            require_safetensors(self.inputs.path(model), f"{setting}={model}")
        faults += self.alike_faults() + self.kind_faults()
        if settings.held_out and not settings.try_with:
            faults.append("held_out needs a loaded model: write try_with=transformers")
        return faults

    def alike_faults(self) -> list[str]:
        """Return a line for each model that is named twice."""
        named = [("base", self.settings.base)] + [("model", one) for one in self.settings.model]
        for number, (setting, one) in enumerate(named):
            for other_setting, other in named[:number]:
                if same_model(other, one):
                    if other_setting == setting:
                        return [f"model names {other} twice: give each tuned model once"]
                    return [
                        f"base and model are both {other}: a merge needs two models; "
                        "give the tuned one as model"
                    ]
        return []

    def kind_faults(self) -> list[str]:
        """Return a line for each kind of layer without a tensor in the base, if it is here."""
        place = self.inputs.path(self.settings.base)
        folder = find_folder(place)
        if folder is None:
            return []
        from hala_hpc.engines.models.tensors import tensor_headers

        layers = LayerMap(read_model_config(place), tensor_headers(folder))
        faults = []
        for setting, values in self.settings.values().items():
            faults += kind_faults(setting, values.named_kinds, layers)
        return faults

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """A model of the size of the largest input; the job needs no GPU."""
        settings = self.settings
        models = [settings.base, *settings.model]
        model, size = inputs.largest_model(models), max(inputs.size_bytes([one]) for one in models)
        weights = inputs.largest_checkpoint(models)
        loads = bool(settings.try_with) and not self.resources.gpus_per_node
        need, misfits = merging_fit(
            weights, len(models), METHODS[settings.method].is_own, loads, inputs.capacity
        )
        output = Amount(None, model, size, weights)
        return Estimate(output, model, need=need, misfits=misfits)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Merge tensor by tensor, in one pass with the other merges of a sweep; try the model."""
        from hala_hpc.engines.models.merging.merge_job import MergeJob

        parents = self._parents()
        held_out = self.inputs.path(self.settings.held_out) if self.settings.held_out else ""
        for unit in units:
            job = MergeJob(self.settings, parents, held_out, out, unit)
            if not job.make_weights():
                return
            job.finish()
            out.commit(unit)

    def _parents(self) -> "Parents":
        """Return the folders of base and tuned models.

        Raises: UserError if they cannot be merged.
        """
        from hala_hpc.engines.models.merging.merge_pass import Parents
        from hala_hpc.engines.models.merging.parents import require_matching_parents

        settings = self.settings
        base = local_model(self.inputs.path(settings.base))
        models = tuple(local_model(self.inputs.path(model)) for model in settings.model)
        require_model(str(base), "base", tokenizer=False)
        require_safetensors(base, f"base={base}")
        for model in models:
            require_model(str(model), "model")
            require_safetensors(model, f"model={model}")
            if base.resolve() == model.resolve():
                raise UserError(f"base and model are both {base}: a merge needs two models")
        # Again: results of nodes did not exist when the launch checked.
        if faults := method_faults(settings, len(models)) + self.kind_faults():
            raise UserError(faults)
        parents = Parents(base, models)
        require_matching_parents(parents, settings.chat_template == "same")
        return parents

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that all tensors of the base are there, in its shapes, and finite."""
        from hala_hpc.engines.models.merging.merge_record import MERGE_FILE, MergeRecord
        from hala_hpc.engines.models.merging.parents import require_same_shapes
        from hala_hpc.engines.models.tensors import require_finite, weight_bytes

        base = local_model(self.inputs.path(self.settings.base))
        require_model(str(folder), f"unit {unit}")
        require_same_shapes(base, folder)
        require_finite(folder)
        record = MergeRecord.read(folder / MERGE_FILE)
        if record is None:
            raise UserError(f"unit {unit}: {MERGE_FILE} is missing", INTERNAL)
        return UnitCounts(details={**record.to_values(), "bytes": weight_bytes(folder)})

    @classmethod
    def summary_line(cls, details: Mapping[str, Any]) -> str:
        """Return method, parameters and distances of the models."""
        from hala_hpc.engines.evaluation.report import format_count

        if "method" not in details:
            return ""
        parameters = ", ".join(f"{name} = {text}" for name, text in details["parameters"].items())
        line = details["method"] + (f" with {parameters}" if parameters else "")
        return f"{line}, {format_count(details.get('weights'))} weights" + describe_changes(details)


def describe_changes(details: Mapping[str, Any]) -> str:
    """Return the distances of the tuned models from the base by kind, and the answer."""
    texts = []
    for change in details.get("changes", ()):
        angles = "/".join(f"{angle:.3g}" for angle in change["angle_degrees"])
        shares = "/".join(f"{100 * share:.3g}" for share in change["relative_change"])
        text = f"{change['kind']} {angles} degrees, {shares} % changed"
        if change.get("linear_share") is not None:
            text += f", {100 * change['linear_share']:.0f} % of it interpolated linearly"
        texts.append(text)
    line = f"; {'; '.join(texts)}" if texts else ""
    perplexities = details.get("trial", {}).get("perplexities", ())
    if perplexities:
        listing = ", ".join(f"{one['model']} {one['perplexity']:.4g}" for one in perplexities)
        line += f"; perplexity on {perplexities[0]['rows']} held-out rows: {listing}"
    return line


def same_model(one: str, other: str) -> bool:
    """Whether two references name the same model."""
    if one.startswith("@") or other.startswith("@"):
        return one == other
    return one == other or os.path.realpath(one) == os.path.realpath(other)


STAGE = Merge
