"""The faults that HALA_FAULT names, for the jobs of a test; nothing else changes.

`defect`: preparing a corpus divides by zero. `killed`: it kills its supervisor in the first round.
`memory=1200`: it takes so many MiB first. `gpu_memory=8`: translating is refused, with torch's
words, with more rows at once than so many. `bad_nodes=node1+node2`: there are fake GPUs, and those
of these nodes have errors; `fake_gpus=`: there are fake GPUs, all good.
"""


def meet(fault: str) -> None:
    """Let this process meet a fault."""
    words = dict(word.partition("=")[::2] for word in fault.split())
    if {"defect", "killed", "memory"} & words.keys():
        from faults_in_stages import prepare_with_faults

        prepare_with_faults(words)
    if "gpu_memory" in words:
        from faults_in_stages import translate_with_faults

        translate_with_faults(int(words["gpu_memory"]))
    if {"bad_nodes", "fake_gpus"} & words.keys():
        from fake_gpus import use_fake_gpus

        use_fake_gpus(words.get("bad_nodes", "").split("+"))
