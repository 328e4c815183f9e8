"""`sft` beside a plain script of TRL."""
