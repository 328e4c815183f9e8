"""What others offer, run on the same work: each in an environment of its own."""
