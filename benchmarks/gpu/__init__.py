"""The pipeline on one real GPU, in a few minutes, without a network and without vLLM."""
