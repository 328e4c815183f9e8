"""The faults that HALA_FAULT names, for the jobs of a test; nothing else changes.

`defect`: preparing a corpus divides by zero. `killed`: it kills its supervisor in the first round.
`memory=1200`: it takes so many MiB first. `gpu_memory=8`: translating is refused, with torch's
words, with more rows at once than so many. `bad_nodes=node1+node2`: there are fake GPUs, and those
of these nodes have errors; `fake_gpus=`: there are fake GPUs, all good.

`hold=FILE`: preparing a corpus waits until that file is there. `hold=FILE after=40 node=arabic`:
instead, the engine of that node (without a name, of every node) gives 40 answers and waits.
"""

from pathlib import Path


def meet(fault: str) -> None:
    """Let this process meet a fault."""
    words = dict(word.partition("=")[::2] for word in fault.split())
    if {"defect", "killed", "memory"} & words.keys():
        from faults_in_stages import prepare_with_faults

        prepare_with_faults(words)
    if "gpu_memory" in words:
        from faults_in_stages import translate_with_faults

        translate_with_faults(int(words["gpu_memory"]))
    if "hold" in words:
        let_wait(words)
    if {"bad_nodes", "fake_gpus"} & words.keys():
        from fake_gpus import use_fake_gpus

        use_fake_gpus(words.get("bad_nodes", "").split("+"))


def let_wait(words: dict[str, str]) -> None:
    """Let work wait for the word of a test."""
    from hold import hold_engine, hold_preparing

    if "after" in words:
        hold_engine(Path(words["hold"]), int(words["after"]), words.get("node", ""))
    else:
        hold_preparing(Path(words["hold"]))
