"""quantize: compress the weights of a model to FP8 with LLM Compressor, for vLLM to serve."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs, MemoryNeed, ModelSize
from hala_hpc.core.files import read_json
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import ModelRef, StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.engines.models.files import (
    link_model,
    local_model,
    require_model,
    require_safetensors,
)
from hala_hpc.engines.models.host_fit import compression_fit
from hala_hpc.engines.models.memory import count_weights

#: Beside the compressed weights.
BEFORE_FILE = "quantize.json"
#: Bytes of FP8 weights for each byte of bfloat16.
SIZE_FACTOR = 0.5


class SizeBefore(JsonRecord):
    """`quantize.json`: how large the weights of the model were before."""

    bytes_before: int


class Settings(StageSettings):
    """Settings of quantize."""

    model: ModelRef
    """Hub id, folder, or `@node` of a node that makes a model."""
    scheme: Literal["FP8_DYNAMIC", "none"] = "FP8_DYNAMIC"
    """FP8_DYNAMIC: weights per channel, activations per token while it runs, no calibration data.
    none: the same weights under a second name, for machines without need of FP8."""
    ignore: list[str] = Field(default=["lm_head"])
    """Linear layers left as they are: names, or `re:` and a regular expression."""
    resources: Resources = Resources(cpus_per_rank=8, mem_gb=64)
    """What the job gets. The model passes through memory in parts of 4 GB; only weights that are no
    safetensors, or that transformers changes while it loads them, must fit as a whole. A GPU is
    used where there is one, and needs no more than a part."""


class Quantize(Stage[Settings]):
    """One unit: the checkpoint."""

    name = "quantize"
    produces = "model"
    env = "quantize"
    Settings = Settings

    def preflight(self) -> list[str]:
        """Find a model without weights; raises UserError 66."""
        require_model(self.settings.model)
        if self.settings.scheme == "none":
            # What is linked as it is must be what the next stages read.
            model = self.settings.model
            require_safetensors(self.inputs.path(model), f"model={model}")
        return []

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The compressed model, and the seconds in which its weights are read and converted."""
        model = inputs.largest_model([self.settings.model])
        seconds, host_seconds, breakdown = None, None, ""
        if model:
            model = ModelSize(model.billions, model.fp8 or self.settings.scheme != "none")
            each = inputs.throughput.start.quantize_seconds_per_billion
            gpus = self.resources.nodes * self.resources.gpus_per_node
            seconds = model.billions * each * gpus
            host_seconds = None if gpus else model.billions * each
            breakdown = f"{each:g} s for each of {model.billions:g} billion weights"
        size = SIZE_FACTOR * inputs.size_bytes([self.settings.model])
        before, after = inputs.checkpoint(self.settings.model), None
        need, misfits = MemoryNeed(), tuple[str, ...]()
        if before and self.settings.scheme == "none":
            after = before
        elif before:
            # A byte for each weight; the job refuses a model that is compressed already.
            weights = count_weights(before) or before.weight_bytes
            after = before._replace(weight_bytes=weights, is_compressed=True, is_fp8=True)
            need, misfits = compression_fit(before, inputs.capacity)
        return Estimate(
            Amount(None, model, size, after),
            model,
            seconds,
            host_seconds=host_seconds,
            hours_breakdown=breakdown,
            need=need,
            misfits=misfits,
        )

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Compress the weights, or link them; what is finished when the job must leave is kept."""
        from hala_hpc.engines.models.compression import CompressionTask, compress
        from hala_hpc.engines.models.tensors import weight_bytes
        from hala_hpc.engines.models.vocabulary import require_vocabulary

        source = local_model(self.inputs.path(self.settings.model))
        require_model(str(source))
        require_vocabulary(source)
        if self.settings.scheme == "none":
            require_safetensors(source, f"model={source}")
        else:
            refuse_compressed(source)
        task = CompressionTask(source, self.settings.scheme, tuple(self.settings.ignore))
        for unit in units:
            folder = out.folder(unit)
            if self.settings.scheme == "none":
                link_model(source, folder)
            elif not compress(task, folder, out, unit):
                return
            SizeBefore(bytes_before=weight_bytes(source)).write(folder / BEFORE_FILE)
            out.commit(unit)
            shutil.rmtree(out.state_dir(unit), ignore_errors=True)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Read headers: every weight that should be FP8 is."""
        from hala_hpc.engines.models.tensors import tensor_headers, weight_bytes

        require_model(str(folder), f"unit {unit}")
        headers = tensor_headers(folder)
        fp8 = [name for name, header in headers.items() if header.dtype == "F8_E4M3"]
        config = read_json(folder / "config.json").get("quantization_config")
        if self.settings.scheme != "none":
            verify_fp8(config, fp8, set(headers))
        before = SizeBefore.read(folder / BEFORE_FILE)
        details = {
            "scheme": self.settings.scheme,
            "tensors": len(headers),
            "fp8_weights": len(fp8),
            "bytes_before": before.bytes_before if before else None,
            "bytes_after": weight_bytes(folder),
        }
        return UnitCounts(details=details)

    @classmethod
    def summary_line(cls, details: Mapping[str, Any]) -> str:
        """What the compression saved."""
        from hala_hpc.engines.evaluation.report import DASH, format_megabytes

        if "bytes_after" not in details:
            return ""
        before, after = (format_megabytes(details[f"bytes_{when}"]) for when in ("before", "after"))
        weights = f"{details.get('fp8_weights', 0)} FP8 weights"
        return f"{details.get('scheme', DASH)}: {weights}, {before} to {after}"


def refuse_compressed(folder: Path) -> None:
    """Raise UserError 65 for a model that is compressed already."""
    config: dict[str, Any] = read_json(folder / "config.json") or {}
    if "quantization_config" in config:
        method = config["quantization_config"].get("quant_method", "an unknown method")
        raise UserError(
            f"model {folder} is compressed already ({method}); set scheme=none to take it as it is",
            BAD_DATA,
        )


def verify_fp8(config: dict[str, Any] | None, fp8: list[str], names: set[str]) -> None:
    """Raise UserError 65 unless config and tensors both say FP8 and every weight has its scale."""
    if not config or not fp8:
        raise UserError(
            f"the checkpoint has {len(fp8)} FP8 weights and "
            f"{'a' if config else 'no'} quantization_config: LLM Compressor did nothing; "
            "look at `ignore` and at the architecture",
            BAD_DATA,
        )
    for name in fp8:
        if f"{name}_scale" not in names:
            raise UserError(f"FP8 weight {name} has no scale {name}_scale", BAD_DATA)


STAGE = Quantize
