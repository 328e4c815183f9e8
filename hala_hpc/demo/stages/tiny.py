"""tiny: build a tiny model of random weights, so that a recipe needs nothing from the hub."""

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
    """JSONL files whose texts the tokenizer learns from. The same files and `vocab_size` give the
    same tokens for every family."""
    vocab_size: Annotated[int, Field(ge=300)] = 3200
    """Tokens; 266 of them are single bytes and marks of turns."""
    hidden: PositiveInt = 128
    """Width of the model, a multiple of 32."""
    layers: Annotated[int, Field(ge=2)] = 3
    """Blocks. In an LFM2 the first is a convolution and the others are attention."""
    seed: int = 0
    """Decides the random weights."""
    resources: Resources = Resources(cpus_per_rank=2, mem_gb=4, timeout_min=10)
    """What the job gets."""

    @field_validator("hidden")
    @classmethod
    def whole_heads(cls, value: int) -> int:
        """Heads have a fixed width."""
        if value % HEAD_WIDTH:
            raise ValueError(f"{value} is not a multiple of {HEAD_WIDTH}, the width of a head")
        return value


class Tiny(Stage[Settings]):
    """One unit: the model."""

    name = "tiny"
    produces = "model"
    Settings = Settings

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """A model that is so small that its bytes count nothing."""
        del inputs
        model = ModelSize(BILLIONS)
        return Estimate(Amount(model=model), model)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Train the tokenizer, draw the weights."""
        files = [Path(self.inputs.path(reference)) for reference in self.settings.text]
        texts = list(strings_of(files))
        if not texts:
            raise UserError(f"text={self.settings.text}: the files hold no text", BAD_DATA)
        wanted = self.settings
        for unit in units:
            tokenizer = train_tokenizer(texts, wanted.vocab_size, wanted.family)
            size = Size(wanted.hidden, wanted.layers, wanted.seed)
            build_model(wanted.family, size, tokenizer, out.folder(unit))
            out.commit(unit)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """The model is whole and its weights are numbers."""
        require_model(str(folder), f"unit {unit}")
        require_finite(folder)
        tensors = len(tensor_headers(folder))
        return UnitCounts(details={"tensors": tensors, "bytes": weight_bytes(folder)})


STAGE = Tiny
