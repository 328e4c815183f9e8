"""The page about a run: what it holds, how it is drawn, and the files beside it."""
