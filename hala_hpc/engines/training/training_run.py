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
    """One training: what is trained on what, and where it keeps its checkpoints."""

    model: Path
    tokens: Path
    """Folder that a tokenize node made."""
    state_dir: Path
    settings: TrainingSettings

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer that made the tokens, with its chat template."""
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
        """What transformers gets as `attn_implementation`; None leaves it to transformers.

        Raises UserError (78) where the model would be another one with what the settings ask for.
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
    """Where Triton and torch keep what they compile for this rank."""
    start: Path | None
    """The checkpoint to go on from; None where there is none yet."""
    micro_batch_tokens: int
    """Padded tokens of a pass of a rank at most, the same on all."""
