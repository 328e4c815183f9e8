"""Translation systems are compared as sacreBLEU's command line does it."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from hala_hpc.engines.evaluation.statistics.comparison import DifferenceVerdict
from hala_hpc.engines.evaluation.statistics.translations import compare_translations

WORDS = ("كتاب", "ولد", "بيت", "شمس", "قمر", "ماء", "سماء", "مدرسة", "قلم", "طريق")


def damage(sentences: list[str], share: float, seed: int) -> list[str]:
    drawn = random.Random(seed)
    return [
        " ".join(drawn.choice(WORDS) if drawn.random() < share else word for word in one.split())
        for one in sentences
    ]


def test_scores_and_p_values_are_those_of_sacrebleus_command_line(tmp_path: Path) -> None:
    from sacrebleu.metrics import BLEU, CHRF

    drawn = random.Random(1)
    references = [" ".join(drawn.choices(WORDS, k=9)) for _ in range(60)]
    systems = {
        "base": damage(references, 0.3, 2),
        "equal": damage(references, 0.3, 3),
        "worse": damage(references, 0.6, 4),
    }
    for name, sentences in {"reference": references, **systems}.items():
        (tmp_path / name).write_text("\n".join(sentences) + "\n")
    rows = compare_translations(
        systems, references, {"bleu": BLEU(), "chrf++": CHRF(word_order=2)}, trials=500
    )
    command = [sys.executable, "-m", "sacrebleu", "reference", "-i", *systems, "-m", "bleu"]
    command += ["chrf", "--chrf-word-order", "2", "--paired-ar", "--paired-ar-n", "500", "-w", "9"]
    text = subprocess.run(
        [*command, "--format", "json"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    by_system = {one["system"]: one for one in json.loads(text)}
    for row, metric in zip(rows, ["BLEU", "BLEU", "chrF2++", "chrF2++"], strict=True):
        expected = by_system[row.label][metric]
        assert row.score == pytest.approx(expected["score"], abs=1e-6)
        assert row.low < row.score < row.high
        assert "ar:500" in row.signature
    smallest = min(by_system["worse"][metric]["p_value"] for metric in ("BLEU", "chrF2++"))
    assert min(row.adjusted_p_value for row in rows) == pytest.approx(4 * smallest)
    assert [row.verdict for row in rows if row.label == "equal"] == [
        DifferenceVerdict.NOT_RESOLVABLE
    ] * 2
    assert [row.verdict for row in rows if row.label == "worse"] == [DifferenceVerdict.LOWER] * 2
