"""Merging models: methods, their parameters by kind and depth, the pass over the tensors."""
