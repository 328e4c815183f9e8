"""The whole chain with one small pretrained model, on CPUs."""
