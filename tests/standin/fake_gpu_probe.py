"""The look at the GPUs of a node, with fake ones: run as `hala_hpc.jobs.node_health_probe` is."""

from fake_gpus import FakeGpus

from hala_hpc.jobs.node_health_probe import answer_and_leave

if __name__ == "__main__":
    answer_and_leave(FakeGpus())
