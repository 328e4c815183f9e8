"""Cut texts into segments for a translator, with protected spans masked."""
