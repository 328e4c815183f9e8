"""`sft` compared with a plain TRL script."""
