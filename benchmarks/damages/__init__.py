"""Damages to the files of a finished run, and whether a relaunch repairs them."""
