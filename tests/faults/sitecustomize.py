"""With this folder on PYTHONPATH, jobs meet the faults that HALA_FAULT names; nothing else changes.

`defect`: preparing a corpus divides by zero. `killed`: it kills its supervisor in the first round.
`memory=1200`: it takes so many MiB first. `gpu_memory=8`: translating is refused, with torch's
words, with more rows at once than so many. `bad_nodes=node1+node2`: there are fake GPUs, and those
of these nodes have errors; `fake_gpus=`: there are fake GPUs, all good.
"""

import os

WORDS = dict(word.partition("=")[::2] for word in os.environ.get("HALA_FAULT", "").split())

if "defect" in WORDS or "killed" in WORDS or "memory" in WORDS:
    from faults_in_stages import prepare_with_faults

    prepare_with_faults(WORDS)
if "gpu_memory" in WORDS:
    from faults_in_stages import translate_with_faults

    translate_with_faults(int(WORDS["gpu_memory"]))
if "bad_nodes" in WORDS or "fake_gpus" in WORDS:
    from fake_gpus import use_fake_gpus

    use_fake_gpus(WORDS.get("bad_nodes", "").split("+"))
