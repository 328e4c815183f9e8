"""With this folder on PYTHONPATH, hala_hpc says everything in other words (see `reworded.py`)."""

import reworded

reworded.install()
