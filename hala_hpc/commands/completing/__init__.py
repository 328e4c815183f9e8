"""Completion of the command line in bash and zsh."""
