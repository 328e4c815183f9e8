"""Supervised fine-tuning with TRL and DeepSpeed, stopped and resumed at any step."""
