"""quantize: compress the weights of a model to FP8 for vLLM, with LLM Compressor."""

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

#: Written next to the compressed weights.
BEFORE_FILE = "quantize.json"
#: Bytes of FP8 weights per byte of bfloat16 weights.
SIZE_FACTOR = 0.5


class SizeBefore(JsonRecord):
    """`quantize.json`: bytes of the model's weights before compression."""

    bytes_before: int


class Settings(StageSettings):
    """Settings of quantize."""

    model: ModelRef
    """Model to compress: hub id, folder, or `@node` of a node that produces a model."""
    scheme: Literal["FP8_DYNAMIC", "none"] = "FP8_DYNAMIC"
    """FP8_DYNAMIC: weights per channel, activations per token at run time, no calibration data.
    none: link the unchanged weights, for clusters that do not need FP8."""
    ignore: list[str] = Field(default=["lm_head"])
    """Linear layers that are not compressed: names, or `re:` followed by a regular expression."""
    resources: Resources = Resources(cpus_per_rank=8, mem_gb=64)
    """Resources of the job. The model is processed in parts of 4 GB. It must fit into memory as a
    whole only if the weights are not safetensors, or if transformers converts them while loading.
    A GPU is used if there is one; its memory must hold one part."""


class Quantize(Stage[Settings]):
    """A stage of one unit: the compressed checkpoint."""

    name = "quantize"
    produces = "model"
    env = "quantize"
    Settings = Settings

    def preflight(self) -> list[str]:
        """Find a model without weights.

        Raises: UserError (NO_INPUT) if there are none.
        """
        require_model(self.settings.model)
        if self.settings.scheme == "none":
            # Linked weights are read by the next stages, which need safetensors.
            model = self.settings.model
            require_safetensors(self.inputs.path(model), f"model={model}")
        return []

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The compressed model, and the seconds to read and convert its weights."""
        model = inputs.largest_model([self.settings.model])
        seconds, host_seconds, breakdown = None, None, ""
        if model:
            model = ModelSize(model.billions, model.fp8 or self.settings.scheme != "none")
            each = inputs.throughput.start.quantize_seconds_per_billion
            gpus = self.resources.nodes * self.resources.gpus_per_node
            seconds = model.billions * each * gpus
            host_seconds = None if gpus else model.billions * each
            breakdown = f"{each:g} s per billion weights, {model.billions:g} billion weights"
        size = SIZE_FACTOR * inputs.size_bytes([self.settings.model])
        before, after = inputs.checkpoint(self.settings.model), None
        need, misfits = MemoryNeed(), tuple[str, ...]()
        if before and self.settings.scheme == "none":
            after = before
        elif before:
            # One byte per weight; the job rejects a model that is already compressed.
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
        """Compress the weights, or link them; a stopped job keeps its finished parts."""
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
        """Read the tensor headers and check that every weight to be compressed is FP8."""
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
        """Scheme, number of FP8 weights, and megabytes before and after."""
        from hala_hpc.engines.evaluation.report import DASH, format_megabytes

        if "bytes_after" not in details:
            return ""
        before, after = (format_megabytes(details[f"bytes_{when}"]) for when in ("before", "after"))
        weights = f"{details.get('fp8_weights', 0)} FP8 weights"
        return f"{details.get('scheme', DASH)}: {weights}, {before} to {after}"


def refuse_compressed(folder: Path) -> None:
    """Check that a model is not yet compressed.

    Raises: UserError (BAD_DATA) if it is.
    """
    config: dict[str, Any] = read_json(folder / "config.json") or {}
    if "quantization_config" in config:
        method = config["quantization_config"].get("quant_method", "an unknown method")
        raise UserError(
            f"model={folder}: already compressed ({method}); set scheme=none to use it unchanged",
            BAD_DATA,
        )


def verify_fp8(config: dict[str, Any] | None, fp8: list[str], names: set[str]) -> None:
    """Check that config and tensors are FP8, and that every FP8 weight has its scale.

    Raises: UserError (BAD_DATA) if not.
    """
    if not config or not fp8:
        raise UserError(
            f"the checkpoint has {len(fp8)} FP8 weights and "
            f"{'a' if config else 'no'} quantization_config: LLM Compressor did nothing; "
            "check `ignore` and the architecture",
            BAD_DATA,
        )
    for name in fp8:
        if f"{name}_scale" not in names:
            raise UserError(f"FP8 weight {name} has no scale {name}_scale", BAD_DATA)


STAGE = Quantize
