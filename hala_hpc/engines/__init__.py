"""Thin drivers of vLLM and of the trainer; they know no stage."""
