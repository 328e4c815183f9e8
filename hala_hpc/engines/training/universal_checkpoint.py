"""A checkpoint of DeepSpeed for another number of ranks than saved it.

ZeRO cuts the optimizer's state into as many pieces as there are ranks. DeepSpeed's own converter
(`deepspeed.checkpoint.ds_to_universal`) joins them into one file for each weight, which any number
of ranks loads; transformers and accelerate know nothing of it.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import StopRequested, UserError
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.training.checkpoints import (
    commit_checkpoint,
    read_commit,
    staging_folder,
    step_of,
    verify_checkpoint,
)
from hala_hpc.engines.training.collectives import run_on_all_ranks

logger = logging.getLogger(__name__)


#: Processes that read pieces, and that join them; each holds some weights in memory.
READERS = 4
JOINERS = 2
#: What the trainer reads of a checkpoint beside DeepSpeed's own files.
CARRIED = ("trainer_state.json", "scheduler.pt")
CONVERTER = "deepspeed.checkpoint.ds_to_universal"


class ConversionResult(JsonRecord):
    """The word of rank 0 to the other ranks that a conversion has ended."""

    error: str = ""
    """Why it failed; empty if it did not."""


def convert_for_ranks(checkpoint: Path, out: UnitContext) -> Path:
    """The checkpoint, or what it was converted to where another number of ranks saved it.

    Collective. Raises UserError when it cannot be converted, with the command that should.
    """
    commit = read_commit(checkpoint)
    assert commit is not None, checkpoint
    if commit.world_size == out.world_size or not commit.zero_stage:
        return checkpoint
    final = checkpoint.parent / f"universal-{step_of(checkpoint)}"
    if any(run_on_all_ranks(final.exists)) and verify_checkpoint(final) is None:
        return final
    if out.rank == 0:
        logger.info(
            "%s was saved by %d ranks and is converted for %d",
            checkpoint.name,
            commit.world_size,
            out.world_size,
        )
    staged = staging_folder(checkpoint.parent, out.attempt) / final.name
    convert_once(checkpoint, staged, out)
    facts = commit.model_copy(update={"converted": True})
    commit_checkpoint(staged, final, facts, out.check_lease)
    return final


def convert_once(checkpoint: Path, staged: Path, out: UnitContext) -> None:
    """Convert on rank 0. The others look for its word: a collective would not wait for hours."""
    result_file = staged.with_name(f"{staged.name}.json")
    if out.rank == 0:
        try:
            error = convert(checkpoint, staged)
        except OSError as failure:
            error = f"{checkpoint} cannot be converted for another number of ranks: {failure}"
        ConversionResult(error=error).write(result_file)
    while not result_file.exists():
        if out.stop_requested:
            raise StopRequested("told to stop while a checkpoint was converted")
        time.sleep(0.5)
    result = ConversionResult.read(result_file)
    if result and result.error:
        raise UserError(result.error)


def convert(checkpoint: Path, staged: Path) -> str:
    """Write the universal form of a checkpoint into `staged`; why it failed, or nothing."""
    tag = (checkpoint / "latest").read_text().strip()
    staged.mkdir(parents=True)
    command = [sys.executable, "-m", CONVERTER]
    command += ["--input_folder", str(checkpoint / tag)]
    command += ["--output_folder", str(staged / f"{tag}_universal")]
    command += ["--num_extract_workers", str(READERS), "--num_merge_workers", str(JOINERS)]
    # The trainer gives DeepSpeed no words about tensor parallelism: there is none.
    command.append("--inject_missing_state")
    done = subprocess.run(
        command, env=lone_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return (
            f"{checkpoint} cannot be converted for another number of ranks ({last}); take as many "
            f"ranks as before, or convert it by hand: {' '.join(command)}"
        )
    for name in CARRIED:
        shutil.copy2(checkpoint / name, staged / name)
    return ""


def lone_environment() -> dict[str, str]:
    """The environment of a process that is no rank of anything."""
    mine = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "HALA_STOP_FD")
    return {name: value for name, value in os.environ.items() if name not in mine}


def is_universal_checkpoint(checkpoint: Path) -> bool:
    """Whether a checkpoint was converted."""
    return checkpoint.name.startswith("universal-")


def request_universal_checkpoint(arguments: Any) -> None:
    """Let DeepSpeed load the universal form; before the trainer is made."""
    arguments.hf_deepspeed_config.config["checkpoint"] = {"load_universal": True}


def separate_step_counters(engine: Any) -> None:
    """Give each group of weights a step counter of its own again, after a universal load.

    DeepSpeed 0.19.8 gives all groups of ZeRO-3 one and the same tensor
    (`load_hp_checkpoint_state_from_checkpoint_dir_stage3`), which torch's AdamW then counts up once
    for each of them: its bias correction went wrong by 5e-4 of the loss.
    """
    for state in engine.optimizer.optimizer.state.values():
        if hasattr(state.get("step"), "clone"):
            state["step"] = state["step"].clone()
