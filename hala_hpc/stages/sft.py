"""sft: fine-tune a model on conversations or translations (TRL's trainer with DeepSpeed ZeRO)."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import read_json, write_json
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import CorpusRef, ModelRef
from hala_hpc.core.stage import Facts, Out, Stage
from hala_hpc.data.carry_over import local_model
from hala_hpc.data.corpus import read_pairs, read_rows, require_kind
from hala_hpc.data.model_files import require_model
from hala_hpc.data.tensors import require_finite, weight_bytes
from hala_hpc.engines.checkpoints import remove_all
from hala_hpc.engines.examples import ExampleMaker, Message
from hala_hpc.engines.prompts import fill, missing_places
from hala_hpc.engines.settings import PromptStyle
from hala_hpc.engines.token_file import TOKENS_FILE, wait_for_tokens, write_tokens
from hala_hpc.engines.train import train
from hala_hpc.engines.training import Training
from hala_hpc.engines.training_settings import TrainingSettings

#: Figures of the training, beside the weights.
FIGURES_FILE = "training.json"


class Settings(TrainingSettings):
    """Settings of sft."""

    model: ModelRef
    """The model to begin with: hub id, folder or `@node`."""
    train: list[CorpusRef]
    """Corpora to learn from, one or several; their rows are mixed."""
    objective: Literal["chat", "translate"] = "chat"
    """chat: answer as the assistant of each conversation does, all its turns.
    translate: write the target of each pair when asked for with `prompt`; a translated
    conversation gives one pair for every message. Pairs may be any question and answer."""
    prompt: str = "Translate everything that follows into Arabic:\n\n{text}"
    """What the model is asked in objective translate; {text} is the source. The paper's prompt."""
    prompt_style: PromptStyle = "auto"
    """chat puts rows into the model's chat template; auto does where there is one."""
    resources: Resources = Resources(cpus_per_rank=8, mem_gb=64)
    """What the job gets; nodes x ranks_per_node is the number of ranks."""

    @field_validator("train", mode="before")
    @classmethod
    def as_list(cls, value: object) -> object:
        """One corpus is a list of one."""
        return [value] if isinstance(value, str) else value


class Sft(Stage[Settings]):
    """One unit: the tuned model. Its ranks work on it together."""

    name = "sft"
    produces = "model"
    Settings = Settings

    def preflight(self) -> list[str]:
        """Find a batch that cannot be cut up, a prompt without a place, a model without weights."""
        require_model(self.settings.model)
        faults = self.settings.batch_faults(self.resources.world_size)
        if not self.settings.train:
            faults.append("train=[]: give at least one corpus to learn from")
        if self.settings.objective == "translate":
            faults += missing_places("prompt", self.settings.prompt, ["text"])
        if self.settings.packing and self.settings.max_steps:
            faults.append("packing=true goes by epochs: take max_steps away")
        return faults

    def run(self, units: Iterable[int], out: Out) -> None:
        """Tokenize once (rank 0), then train on all ranks from the newest whole checkpoint."""
        model = local_model(self.inputs.path(self.settings.model))
        require_model(str(model))
        for unit in units:
            kept = out.kept(unit)
            counted = self._tokens(model, kept, out)
            if counted is None:
                return
            training = Training(model, kept / TOKENS_FILE, kept, self.settings)
            figures = train(training, out)
            if figures is None:
                return
            if out.rank == 0:
                write_json(out.folder(unit) / FIGURES_FILE, {"rows": counted, **figures})
                out.commit(unit)
                remove_all(kept)

    def _tokens(self, model: Path, kept: Path, out: Out) -> dict[str, Any] | None:
        if out.rank != 0:
            return wait_for_tokens(kept, lambda: out.stop)
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)
        maker = ExampleMaker(tokenizer, self.settings.max_length, self.settings.prompt_style)
        return write_tokens(kept, self._conversations(), maker, lambda: out.stop)

    def _conversations(self) -> Iterator[list[Message]]:
        for reference in self.settings.train:
            folder = self.inputs.path(reference)
            if self.settings.objective == "chat":
                require_kind(folder, "conversations")
                for row in read_rows(folder):
                    yield row["messages"]
            else:
                for _, source, target in read_pairs(folder):
                    question = fill(self.settings.prompt, {"text": source})
                    yield [
                        {"role": "user", "content": question},
                        {"role": "assistant", "content": target},
                    ]

    def check(self, unit: int, folder: Path) -> Facts:
        """The model is whole and finite; count the rows it has seen."""
        require_model(str(folder), f"unit {unit}")
        require_finite(folder)
        figures: dict[str, Any] = read_json(folder / FIGURES_FILE)
        rows = figures.pop("rows")
        rejected = dict(rows["rejected"])
        if not self.settings.packing:
            seen = figures["steps"] * self.settings.global_batch_size
            unseen = max(rows["rows"] - seen, 0)
            if unseen:
                # Training ended by max_steps or a part of an epoch before it came to these.
                rejected["not_reached"] = unseen
        lost = sum(rejected.values())
        if lost >= rows["rows_in"]:
            raise UserError(f"the model has seen none of {rows['rows_in']} rows", BAD_DATA)
        return Facts(
            rows_in=rows["rows_in"],
            rows_out=rows["rows_in"] - lost,
            rows_rejected=lost,
            rejected=rejected,
            tokens_in=figures["tokens_trained"],
            details={
                **figures,
                "tokens": rows["tokens"],
                "tokens_learnt": rows["tokens_learnt"],
                "bytes": weight_bytes(folder),
            },
        )


STAGE = Sft
