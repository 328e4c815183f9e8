"""tiny: build a tiny model with random weights, so that a recipe needs nothing from the hub."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs, ModelSize
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import FilesRef, StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.demo.tiny_models import HEAD_WIDTH, Size, build_model
from hala_hpc.demo.tokenizer import strings_of, train_tokenizer
from hala_hpc.engines.models.files import require_model
from hala_hpc.engines.models.tensors import require_finite, tensor_headers, weight_bytes

#: Weights of such a model, in billions; roughly.
BILLIONS = 0.001


class Settings(StageSettings):
    """Settings of tiny."""

    family: Literal["lfm2", "cohere2", "qwen2"]
    """Architecture: that of the paper's translator and models, of its teacher, or of its judge."""
    text: list[FilesRef] = Field(min_length=1)
    """JSONL files whose texts the tokenizer is trained on. The same files and `vocab_size` give the
    same tokens for every family."""
    vocab_size: Annotated[int, Field(ge=300)] = 3200
    """Tokens, of which 266 are single bytes and special tokens."""
    hidden: PositiveInt = 128
    """Width of the model, a multiple of 32."""
    layers: Annotated[int, Field(ge=2)] = 3
    """Number of blocks. In an LFM2 the first is a convolution and the others are attention."""
    seed: int = 0
    """Seed of the random weights."""
    resources: Resources = Resources(cpus_per_rank=2, mem_gb=4, timeout_min=10)
    """Resources of the job."""

    @field_validator("hidden")
    @classmethod
    def whole_heads(cls, value: int) -> int:
        """Check that the width is a multiple of the fixed width of a head."""
        if value % HEAD_WIDTH:
            raise ValueError(f"{value} is not a multiple of {HEAD_WIDTH}, the width of a head")
        return value


class Tiny(Stage[Settings]):
    """One unit: the model."""

    name = "tiny"
    produces = "model"
    Settings = Settings

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """An estimate without bytes: the model is too small to count."""
        del inputs
        model = ModelSize(BILLIONS)
        return Estimate(Amount(model=model), model)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Train the tokenizer and draw the weights."""
        files = [Path(self.inputs.path(reference)) for reference in self.settings.text]
        texts = list(strings_of(files))
        if not texts:
            raise UserError(f"text={self.settings.text}: the files contain no text", BAD_DATA)
        wanted = self.settings
        for unit in units:
            tokenizer = train_tokenizer(texts, wanted.vocab_size, wanted.family)
            size = Size(wanted.hidden, wanted.layers, wanted.seed)
            build_model(wanted.family, size, tokenizer, out.folder(unit))
            out.commit(unit)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that the model is complete and its weights are finite."""
        require_model(str(folder), f"unit {unit}")
        require_finite(folder)
        tensors = len(tensor_headers(folder))
        return UnitCounts(details={"tensors": tensors, "bytes": weight_bytes(folder)})


STAGE = Tiny
