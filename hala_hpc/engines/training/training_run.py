"""One training, and one attempt at it."""

from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.models.attention import AttentionUse, choose_attention
from hala_hpc.engines.models.compile_cache import CompileCache
from hala_hpc.engines.models.tensors import tensor_headers
from hala_hpc.engines.training.checkpoint_interval import SavingClock
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.tokens.names import TOKENIZER_FOLDER
from hala_hpc.engines.training.watchdog import StepWatchdog


@dataclass(frozen=True)
class Training:
    """Model, tokens and settings of a training, and the folder of its checkpoints."""

    model: Path
    tokens: Path
    """Result folder of a tokenize node."""
    state_dir: Path
    settings: TrainingSettings

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer of the tokens, with its chat template."""
        return self.tokens / TOKENIZER_FOLDER

    @property
    def dtype(self) -> str:
        """`float32` or `bfloat16`."""
        if self.settings.dtype != "auto":
            return self.settings.dtype
        types = {header.dtype for header in tensor_headers(self.model).values()}
        return "float32" if types == {"F32"} else "bfloat16"

    @property
    def attention(self) -> str | None:
        """Value of `attn_implementation` for transformers; None: transformers' default.

        Raises: UserError (CONFIG) if the setting would change what the model computes.
        """
        import torch
        from transformers import AutoConfig

        device = "cuda" if torch.cuda.is_available() else "cpu"
        use = AttentionUse(device, self.dtype, trains=True)
        return choose_attention(
            AutoConfig.from_pretrained(self.model), self.settings.attention, use
        )


@dataclass(frozen=True)
class Attempt:
    """One attempt at a training, on one rank."""

    training: Training
    out: UnitContext
    heartbeat: StepWatchdog
    saving: SavingClock
    compiled: CompileCache
    """The compile cache of Triton and torch for this rank."""
    start: Path | None
    """The checkpoint to resume from; None if there is none yet."""
    micro_batch_tokens: int
    """Maximum padded tokens of a pass, the same on all ranks."""
