"""The stand-in engine with a fault in its answers, selected by HALA_PLANTED; see `ANSWERS`."""

import os
from collections.abc import Callable
from dataclasses import replace
from random import Random

from standin_engine import StandInEngine

from hala_hpc.engines.generation.engine import Completion, EngineConfig, Request

#: Share of the answers of several lines whose structure is broken.
BROKEN_SHARE = 0.4


def break_structure(prompt: str, answer: str) -> str:
    """Break a share of the answers of several lines; equal prompts have equal answers."""
    draw, lines = Random(prompt), answer.split("\n")
    written = [number for number, line in enumerate(lines) if number and line.strip()]
    if not written or draw.random() >= BROKEN_SHARE:
        return answer
    at = draw.choice(written)
    match draw.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines[at - 1] += f" {lines.pop(at)}"
        case _:
            lines[at] = lines[at].partition(" ")[2]
    return "\n".join(lines)


#: What becomes of an answer, by the fault: of prompt and answer.
ANSWERS: dict[str, Callable[[str, str], str]] = {
    # A teacher whose tokens around an answer come as text.
    "framing": lambda _, answer: f"<|START_RESPONSE|>{answer}<|END_RESPONSE|>",
    # A chat template that is not the model's: it continues in its own way.
    "template": lambda _, answer: f"<|im_start|>assistant\n{answer}",
    # Weights that were broken while they were compressed.
    "broken": lambda _, answer: (answer[:4] or "اب") * 60,
    # The wrong language: the text as it was.
    "language": lambda prompt, _: prompt.partition("\n\n")[2] or prompt,
    # A model that drops, doubles and joins lines, and loses list markers.
    "structure": break_structure,
}


def as_it_is(_prompt: str, answer: str) -> str:
    """No fault."""
    return answer


class PlantedEngine(StandInEngine):
    """Answers as the stand-in does, and spoils it."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.spoil = ANSWERS.get(os.environ.get("HALA_PLANTED", ""), as_it_is)

    def _answer(self, request: Request) -> Completion:
        good = super()._answer(request)
        text = self.spoil(bytes(request.ids).decode(), good.text)
        return replace(good, text=text, tokens_out=len(text.encode()))
