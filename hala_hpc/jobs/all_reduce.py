"""Lets GPUs of this machine add up a number, each in a process of its own, with an end in sight.

NCCL hangs where GPUs cannot reach each other, so that it must be possible to kill who tries. Run as
`python -m hala_hpc.jobs.all_reduce <JSON>` for each GPU.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta

from hala_hpc.core.ports import find_free_port
from hala_hpc.core.record import JsonRecord

#: Seconds for all: imports of torch, mostly, on few cores; its files have just been read.
LIMIT_S = 240.0
KILL_WAIT_S = 5


class Part(JsonRecord):
    """What one process does."""

    backend: str
    """Of torch.distributed: nccl, or gloo for processors."""
    device: str
    rank: int
    ranks: int
    port: int
    limit_s: float


def all_reduce_fault(backend: str, devices: Sequence[str], limit_s: float = LIMIT_S) -> str:
    """What goes wrong when a process for each device adds up a number; "" when nothing does."""
    port, until_s = find_free_port(), time.monotonic() + limit_s
    parts = [
        Part(
            backend=backend, device=device, rank=rank, ranks=len(devices), port=port,
            limit_s=limit_s,
        )
        for rank, device in enumerate(devices)
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as output:
        processes = [start(part, output.fileno()) for part in parts]
        try:
            while any(one.poll() is None for one in processes) and time.monotonic() < until_s:
                if any(one.poll() for one in processes):
                    break
                time.sleep(0.1)
        finally:
            codes = [one.poll() for one in processes]
            for one in processes:
                one.kill()
                # One that hangs in a driver may outlive even this.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    one.wait(KILL_WAIT_S)
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.strip()]
    if not any(codes):
        late = [part.device for part, code in zip(parts, codes, strict=True) if code is None]
        return f"no sum after {limit_s:.0f} s: {', '.join(late)} still wait" if late else ""
    broken = [part.device for part, code in zip(parts, codes, strict=True) if code]
    return f"no sum ({backend}): {', '.join(broken)}: {lines[-1] if lines else 'no word'}"


def start(part: Part, output: int) -> "subprocess.Popen[bytes]":
    """The process of one device."""
    return subprocess.Popen(
        [sys.executable, "-m", "hala_hpc.jobs.all_reduce", part.line()],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )


def add_up(part: Part) -> str:
    """Add up a number over all processes; what is wrong with the sum, "" when nothing is."""
    import torch
    from torch import distributed

    if part.device.startswith("cuda"):
        torch.cuda.set_device(part.device)
    limit = timedelta(seconds=part.limit_s)
    store = distributed.TCPStore("127.0.0.1", part.port, part.ranks, part.rank == 0, limit)
    distributed.init_process_group(
        part.backend, store=store, rank=part.rank, world_size=part.ranks, timeout=limit
    )
    # A mebibyte, as tiny messages take another way than gradients do.
    numbers = torch.full((2**18,), part.rank + 1, dtype=torch.int32, device=part.device)
    distributed.all_reduce(numbers)
    right = part.ranks * (part.ranks + 1) // 2
    wrong = int((numbers != right).sum().item())
    # Rank 0 holds the store: it is the last to leave.
    distributed.barrier()
    return f"{wrong} of {len(numbers)} sums are wrong" if wrong else ""


def main() -> None:
    """Take part, and leave with 0 where the sum is right."""
    part = Part.from_json(sys.argv[1], "argument of all_reduce")
    try:
        fault = add_up(part)
    except RuntimeError as error:
        fault = next(iter(str(error).splitlines()), "") or type(error).__name__
    if fault:
        sys.stderr.write(f"\n{part.device}: {fault}\n")
        sys.stderr.flush()
    # os._exit: collectives leave threads behind that can hold an ordinary exit.
    os._exit(1 if fault else 0)


if __name__ == "__main__":
    main()
