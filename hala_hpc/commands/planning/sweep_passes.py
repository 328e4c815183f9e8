"""Nodes of one sweep that a launch runs together: what they can do once for all."""

from dataclasses import replace

from hala_hpc.commands.planning.plan import Step


def join_sweeps(steps: dict[str, Step]) -> dict[str, Step]:
    """The steps; those of a sweep that are to be run have settings that know of each other.

    Such settings change no fingerprint: each node has its own result, whoever makes it.
    """
    return {name: join_step(step, steps) for name, step in steps.items()}


def join_step(step: Step, steps: dict[str, Step]) -> Step:
    """One step with the settings of the others that a sweep has made of the same node."""
    others = [
        other.node.settings
        for other in steps.values()
        if other.node.written == step.node.written
        and other.name != step.name
        and other.state != "done"
    ]
    if not others or step.state == "done":
        return step
    settings = step.stage().settings_in_sweep(others)
    return replace(step, node=replace(step.node, settings=settings))
