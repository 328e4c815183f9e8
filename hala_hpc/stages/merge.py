"""merge: put a tuned model part of the way back to its base (mergekit slerp)."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hala_hpc.core.errors import UserError
from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import ModelRef, StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.engines.models.files import (
    carry_config,
    copy_tokenizer,
    local_model,
    require_model,
    require_safetensors,
)
from hala_hpc.engines.models.host_fit import merging_fit


class Settings(StageSettings):
    """Settings of merge."""

    base: ModelRef
    """The model before it was tuned: hub id, folder or `@node`."""
    model: ModelRef
    """The tuned model. Tokenizer and chat template are taken from it."""
    t: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How far from the base (0) to the tuned model (1). The paper's value."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the merged weights; auto: that of the base. The sums are made in float32."""
    resources: Resources = Resources(cpus_per_rank=4, mem_gb=32)
    """What the job gets; no GPU is needed."""


class Merge(Stage[Settings]):
    """One unit: the merged model."""

    name = "merge"
    produces = "model"
    Settings = Settings

    def preflight(self) -> list[str]:
        """Find a merge of a model with itself, and models without weights."""
        for setting, model in (("base", self.settings.base), ("model", self.settings.model)):
            require_model(model, setting)
            require_safetensors(self.inputs.path(model), f"{setting}={model}")
        if same_model(self.settings.base, self.settings.model):
            return [
                f"base and model are both {self.settings.base}: a merge needs two models; "
                "give the tuned one as model"
            ]
        return []

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """A model as large as the two; no GPU is needed."""
        both = [self.settings.base, self.settings.model]
        model, size = inputs.largest_model(both), max(inputs.size_bytes([one]) for one in both)
        weights = inputs.largest_checkpoint(both)
        need, misfits = merging_fit(weights, inputs.capacity)
        output = Amount(None, model, size, weights)
        return Estimate(output, model, need=need, misfits=misfits)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Merge on the CPU, tensor by tensor."""
        from hala_hpc.engines.models.merge import (
            find_main_dtype,
            require_same_shapes,
            require_same_tokens,
            slerp,
        )

        base, model = self._folders()
        require_same_shapes(base, model)
        require_same_tokens(base, model)
        dtype = find_main_dtype(base) if self.settings.dtype == "auto" else self.settings.dtype
        for unit in units:
            folder = out.folder(unit)
            slerp(base, model, folder, self.settings.t, dtype)
            copy_tokenizer(model, folder)
            carry_config(model, folder)
            out.commit(unit)

    def _folders(self) -> tuple[Path, Path]:
        base = local_model(self.inputs.path(self.settings.base))
        model = local_model(self.inputs.path(self.settings.model))
        require_model(str(base), "base", tokenizer=False)
        require_model(str(model), "model")
        require_safetensors(base, f"base={base}")
        require_safetensors(model, f"model={model}")
        # mergekit takes one of the two for granted and fails much later.
        if base.resolve() == model.resolve():
            raise UserError(f"base and model are both {base}: a merge needs two models")
        return base, model

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """All tensors of the base are there, in its shapes, and finite."""
        import math

        from hala_hpc.engines.models.merge import find_main_dtype, require_same_shapes
        from hala_hpc.engines.models.tensors import require_finite, tensor_headers, weight_bytes

        base, _ = self._folders()
        require_model(str(folder), f"unit {unit}")
        require_same_shapes(base, folder)
        require_finite(folder)
        headers = tensor_headers(folder)
        weights = sum(math.prod(header.shape) for header in headers.values())
        details = {
            "t": self.settings.t,
            "tensors": len(headers),
            "weights": weights,
            "bytes": weight_bytes(folder),
            "dtype": find_main_dtype(folder),
        }
        return UnitCounts(details=details)

    @classmethod
    def summary_line(cls, details: Mapping[str, Any]) -> str:
        """How far the merge went."""
        from hala_hpc.engines.evaluation.report import format_count

        if "t" not in details:
            return ""
        return f"slerp with t = {details['t']}, {format_count(details.get('weights'))} weights"


def same_model(one: str, other: str) -> bool:
    """Whether two references name the same model."""
    if one.startswith("@") or other.startswith("@"):
        return one == other
    return one == other or os.path.realpath(one) == os.path.realpath(other)


STAGE = Merge
