"""The full pipeline with one small pretrained model, on CPUs."""
