"""Token files of made-up rows, in the format of the stage tokenize."""

import random
from array import array
from collections.abc import Sequence
from math import log
from pathlib import Path

from benchmarks.gpu.checkpoints import made_tokenizer
from benchmarks.gpu.scale import Place
from hala_hpc.engines.training.tokens.files import PackedExample, TokenWriter, count_token_file
from hala_hpc.engines.training.tokens.names import TOKENIZER_FOLDER, TOKENS_FILE, TokenFacts

#: Tokens of a row: median and deviation of the logarithm, so that the mean is about 430, that of
#: the recipe's rows; the shape is assumed. The shortest has some.
MEDIAN_TOKENS, DEVIATION, MIN_TOKENS = 280, 0.95, 16
PART = "part-00000.arrow"


def mixed_lengths(place: Place, count: int) -> list[int]:
    """Draw row lengths as of an instruction mixture; thin ones are shorter in proportion."""
    scale = place.scale
    draw = random.Random(0)
    middle = MEDIAN_TOKENS * scale.longest_row / 4096
    drawn = (round(draw.lognormvariate(log(middle), DEVIATION)) for _ in range(count))
    return [min(max(MIN_TOKENS, one), scale.longest_row) for one in drawn]


def make_tokens(folder: Path, place: Place, lengths: Sequence[int], *, packing: bool) -> Path:
    """Make token files of rows of these lengths, once; the loss covers half of each row."""
    if (folder / TOKENS_FILE).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    room, vocab_size = place.scale.longest_row, place.scale.shape()["vocab_size"]
    draw = random.Random(1)
    with TokenWriter(folder / PART, room if packing else None, "benchmark") as writer:
        for length in lengths:
            ids = array("i", [draw.randrange(vocab_size) for _ in range(length)])
            # The question is read, but is not in the loss.
            labels = array("i", [-100] * (length // 2)) + ids[length // 2 :]
            writer.add(PackedExample(ids, labels, 1))
    made_tokenizer().save_pretrained(folder / TOKENIZER_FOLDER)
    counts, _ = count_token_file(folder / PART)
    facts = TokenFacts(
        rows=counts["rows"],
        sequences=counts["sequences"],
        tokens=counts["tokens"],
        loss_tokens=counts["loss_tokens"],
        largest_token=counts["largest_token"],
        vocabulary="",
        max_length=room,
        packing=packing,
        length_max=max(lengths),
        parts=(PART,),
    )
    facts.write(folder / TOKENS_FILE)
    return folder
