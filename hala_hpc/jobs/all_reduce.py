"""Test all-reduce over GPUs of this machine: one process for each GPU, with a time limit.

NCCL hangs if GPUs cannot reach each other, so each process can be killed. Run as
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

#: Seconds for all processes. Importing torch on few cores takes most of it; its files were just
#: read, so they are in the page cache.
LIMIT_S = 240.0
KILL_WAIT_S = 5


class Part(JsonRecord):
    """Arguments of one process."""

    backend: str
    """Backend of torch.distributed: nccl, or gloo for CPUs."""
    device: str
    rank: int
    ranks: int
    port: int
    limit_s: float


def all_reduce_fault(backend: str, devices: Sequence[str], limit_s: float = LIMIT_S) -> str:
    """Run an all-reduce with one process for each device; return the problem, or "" if none."""
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
                # A process that hangs in a driver may survive SIGKILL.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    one.wait(KILL_WAIT_S)
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.strip()]
    if not any(codes):
        late = [part.device for part, code in zip(parts, codes, strict=True) if code is None]
        return f"no sum after {limit_s:.0f} s: {', '.join(late)} still waiting" if late else ""
    broken = [part.device for part, code in zip(parts, codes, strict=True) if code]
    return f"no sum ({backend}): {', '.join(broken)}: {lines[-1] if lines else 'no output'}"


def start(part: Part, output: int) -> "subprocess.Popen[bytes]":
    """Start the process of one device."""
    return subprocess.Popen(
        [sys.executable, "-m", "hala_hpc.jobs.all_reduce", part.line()],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )


def add_up(part: Part) -> str:
    """Sum a tensor over all processes; return what is wrong with the sum, or "" if it is right."""
    import torch
    from torch import distributed

    if part.device.startswith("cuda"):
        torch.cuda.set_device(part.device)
    limit = timedelta(seconds=part.limit_s)
    store = distributed.TCPStore("127.0.0.1", part.port, part.ranks, part.rank == 0, limit)
    distributed.init_process_group(
        part.backend, store=store, rank=part.rank, world_size=part.ranks, timeout=limit
    )
    # One MiB: NCCL uses another protocol for tiny messages than for gradients.
    numbers = torch.full((2**18,), part.rank + 1, dtype=torch.int32, device=part.device)
    distributed.all_reduce(numbers)
    right = part.ranks * (part.ranks + 1) // 2
    wrong = int((numbers != right).sum().item())
    # Rank 0 holds the store, so it must exit last.
    distributed.barrier()
    return f"{wrong} of {len(numbers)} sums are wrong" if wrong else ""


def main() -> None:
    """Take part in the all-reduce; exit with 0 if the sum is right."""
    part = Part.from_json(sys.argv[1], "argument of all_reduce")
    try:
        fault = add_up(part)
    except RuntimeError as error:
        fault = next(iter(str(error).splitlines()), "") or type(error).__name__
    if fault:
        sys.stderr.write(f"\n{part.device}: {fault}\n")
        sys.stderr.flush()
    # os._exit: collectives leave threads behind that can block a normal exit.
    os._exit(1 if fault else 0)


if __name__ == "__main__":
    main()
