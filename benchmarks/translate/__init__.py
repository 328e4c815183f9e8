"""A worker of `translate` beside raw vLLM and datatrove."""
