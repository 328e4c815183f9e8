"""The probe of the GPUs of a node, with fake ones: run as `hala_hpc.jobs.node_health_probe` is."""

from fake_gpus import FakeGpus

from hala_hpc.jobs.node_health_probe import print_result_and_exit

if __name__ == "__main__":
    print_result_and_exit(FakeGpus())
