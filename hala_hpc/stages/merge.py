"""merge: interpolate between a tuned model and its base (mergekit slerp)."""

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
    """The model before fine-tuning: hub id, folder or `@node`."""
    model: ModelRef
    """The tuned model. Its tokenizer and chat template are copied to the merged model."""
    t: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Interpolation factor from the base (0) to the tuned model (1). The default is the paper's."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the merged weights; auto: that of the base. slerp is computed in float32."""
    resources: Resources = Resources(cpus_per_rank=4, mem_gb=32)
    """Resources of the job; it needs no GPU."""


class Merge(Stage[Settings]):
    """A stage of one unit: the merged model."""

    name = "merge"
    produces = "model"
    Settings = Settings

    def preflight(self) -> list[str]:
        """Find models without safetensors weights, and a merge of a model with itself."""
        for setting, model in (("base", self.settings.base), ("model", self.settings.model)):
            require_model(model, setting)
            require_safetensors(self.inputs.path(model), f"{setting}={model}")
        if same_model(self.settings.base, self.settings.model):
            return [
                f"base={self.settings.base}: the same model as `model`; a merge needs two models; "
                "set model to the tuned one"
            ]
        return []

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """A model of the size of the larger input; the job needs no GPU."""
        both = [self.settings.base, self.settings.model]
        model, size = inputs.largest_model(both), max(inputs.size_bytes([one]) for one in both)
        weights = inputs.largest_checkpoint(both)
        need, misfits = merging_fit(weights, inputs.capacity)
        output = Amount(None, model, size, weights)
        return Estimate(output, model, need=need, misfits=misfits)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Merge on the CPU, one tensor at a time."""
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
        # mergekit assumes that the models differ, and fails only much later.
        if base.resolve() == model.resolve():
            raise UserError(f"base={base}: the same folder as `model`; a merge needs two models")
        return base, model

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that all tensors of the base are present, in the same shapes, and finite."""
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
        """The interpolation factor and the number of weights."""
        from hala_hpc.engines.evaluation.report import format_count

        if "t" not in details:
            return ""
        return f"slerp with t = {details['t']}, {format_count(details.get('weights'))} weights"


def same_model(one: str, other: str) -> bool:
    """Whether two references resolve to the same model."""
    if one.startswith("@") or other.startswith("@"):
        return one == other
    return one == other or os.path.realpath(one) == os.path.realpath(other)


STAGE = Merge
