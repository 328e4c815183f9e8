"""Convert a DeepSpeed checkpoint for another number of ranks (universal checkpoint).

ZeRO splits the optimizer's state into as many shards as there are ranks. DeepSpeed's own converter
(`deepspeed.checkpoint.ds_to_universal`) merges them into one file for each weight, which any number
of ranks can load. transformers and accelerate do not support it.
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


#: Processes that extract shards, and that merge them; each holds some weights in memory.
READERS = 4
JOINERS = 2
#: Files of a checkpoint that the trainer reads in addition to DeepSpeed's own.
CARRIED = ("trainer_state.json", "scheduler.pt")
CONVERTER = "deepspeed.checkpoint.ds_to_universal"


class ConversionResult(JsonRecord):
    """Result of a conversion, from rank 0 to the other ranks."""

    error: str = ""
    """Why it failed; empty if it did not."""


def convert_for_ranks(checkpoint: Path, out: UnitContext) -> Path:
    """Return the checkpoint, converted if another number of ranks saved it. Collective.

    Raises: UserError with the command of the conversion, if it fails.
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
    """Convert on rank 0; the others poll its result file: a collective would time out."""
    result_file = staged.with_name(f"{staged.name}.json")
    if out.rank == 0:
        try:
            error = convert(checkpoint, staged)
        except OSError as failure:
            error = f"{checkpoint}: it cannot be converted for another number of ranks: {failure}"
        ConversionResult(error=error).write(result_file)
    while not result_file.exists():
        if out.stop_requested:
            raise StopRequested("stop requested while a checkpoint was converted")
        time.sleep(0.5)
    result = ConversionResult.read(result_file)
    if result and result.error:
        raise UserError(result.error)


def convert(checkpoint: Path, staged: Path) -> str:
    """Write the universal checkpoint into `staged`; return why it failed, or an empty text."""
    tag = (checkpoint / "latest").read_text().strip()
    staged.mkdir(parents=True)
    command = [sys.executable, "-m", CONVERTER]
    command += ["--input_folder", str(checkpoint / tag)]
    command += ["--output_folder", str(staged / f"{tag}_universal")]
    command += ["--num_extract_workers", str(READERS), "--num_merge_workers", str(JOINERS)]
    # The trainer passes no configuration of tensor parallelism to DeepSpeed: there is none.
    command.append("--inject_missing_state")
    done = subprocess.run(
        command, env=lone_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return (
            f"{checkpoint}: it cannot be converted for another number of ranks ({last}); use as "
            f"many ranks as before, or convert it by hand: {' '.join(command)}"
        )
    for name in CARRIED:
        shutil.copy2(checkpoint / name, staged / name)
    return ""


def lone_environment() -> dict[str, str]:
    """Return the environment without the variables of a rank."""
    mine = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "HALA_STOP_FD")
    return {name: value for name, value in os.environ.items() if name not in mine}


def is_universal_checkpoint(checkpoint: Path) -> bool:
    """Whether a checkpoint is a converted one."""
    return checkpoint.name.startswith("universal-")


def request_universal_checkpoint(arguments: Any) -> None:
    """Configure DeepSpeed to load a universal checkpoint; call it before the trainer is made."""
    arguments.hf_deepspeed_config.config["checkpoint"] = {"load_universal": True}


def separate_step_counters(engine: Any) -> None:
    """Give each parameter group its own step counter after a universal checkpoint was loaded.

    DeepSpeed 0.19.8 gives all groups of ZeRO-3 one and the same tensor
    (`load_hp_checkpoint_state_from_checkpoint_dir_stage3`), which torch's AdamW then increments
    once for each group. The wrong bias correction changed the loss by 5e-4 of its value.
    """
    for state in engine.optimizer.optimizer.state.values():
        if hasattr(state.get("step"), "clone"):
            state["step"] = state["step"].clone()
