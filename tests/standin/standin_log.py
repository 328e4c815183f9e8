"""Lets the real engine note its answers as the stand-in does."""

from dataclasses import asdict

from standin_engine import note_question

from hala_hpc.engines.generation.vllm.engine import Completion, Generator


def note_real_answers(log: str) -> None:
    """Note each answer of every engine of this process in a file, when it is finished."""
    take_step = Generator.step

    def step(self: Generator) -> list[Completion]:
        held = dict(self.held)
        completions = take_step(self)
        for completion in completions:
            request = held[str(completion.key)]
            note_question(log, {"ids": request.ids, **asdict(request.sampling)})
        return completions

    Generator.step = step  # type: ignore[method-assign]
