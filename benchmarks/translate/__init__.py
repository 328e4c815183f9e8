"""A worker of `translate` compared with raw vLLM and datatrove."""
