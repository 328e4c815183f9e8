"""How far the nodes of a run are, and which log tells why."""
