"""Rows of translate carry figures by which they are cut later, and filter keeps them."""

from pathlib import Path
from typing import Any

import pytest
from corpora import pair, write_corpus
from plain_out import PlainContext, PlainInputs
from standin_engine import TOKEN_LOGPROB, StandInEngine
from tiny_models import make_tokenizer

from hala_hpc.core.stage import Stage
from hala_hpc.data.checks.settings import CHECKS
from hala_hpc.data.corpus.figures import FIGURE_TYPES
from hala_hpc.data.corpus.reader import Row, read_rows
from hala_hpc.engines.generation.engine import Completion, Request
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.stages.filter import Filter
from hala_hpc.stages.translate import Translate

TEXTS = ["Keep `x = 1` and \\frac{1}{2} here.", "One line.\nA torn line.", "`x = 1`"]


class TearingEngine(StandInEngine):
    """Writes less of a torn line until it is sampled again, and judges that all is well."""

    def _answer(self, request: Request) -> Completion:
        if request.sampling.labels:
            label = request.sampling.labels[0]
            return Completion(request.key, label, True, len(request.ids), 1, (0.9, 0.1))
        good = super()._answer(request)
        is_torn = "torn" in request.prompt and not request.sampling.temperature
        text = "" if is_torn else good.text
        return Completion(
            good.key, text, True, good.tokens_in, good.tokens_out, logprob=good.logprob
        )


def run(stage: Stage[Any], folder: Path) -> Path:
    """The folder of the only unit, checked."""
    out = PlainContext(folder, stage)
    stage.run([0], out)
    stage.check(0, out.folder(0))
    return out.folder(0)


def translated(tmp_path: Path, **given: Any) -> Path:
    """The rows of `TEXTS`, translated."""
    make_tokenizer(tmp_path / "model")
    corpus = write_corpus(tmp_path / "corpus", [pair(text, "") for text in TEXTS])
    settings = {
        "model": str(tmp_path / "model"),
        "corpus": str(corpus),
        "units": 1,
        "engine": {"name": f"{__name__}:TearingEngine"},
        "checks": {"disabled": sorted(set(CHECKS) - {"placeholders", "structure"})},
        **given,
    }
    return run(Translate(Translate.Settings(**settings), PlainInputs()), tmp_path / "out")


def figures_of(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in FIGURE_TYPES}


def test_rows_record_how_their_translation_was_made(tmp_path: Path) -> None:
    whole, again, code = read_rows(translated(tmp_path))
    assert whole["mean_logprob"] == pytest.approx(TOKEN_LOGPROB)
    assert (whole["retried_share"], whole["retry_reasons"]) == (0.0, [])
    assert whole["protected_spans"] == 2
    assert whole["length_ratio"] == pytest.approx(len(whole["target"]) / len(whole["source"]))
    assert again["mean_logprob"] == pytest.approx(TOKEN_LOGPROB)
    # Both lines were asked again, but not what is between them.
    assert again["retried_share"] == pytest.approx(21 / 22)
    assert again["retry_reasons"] == ["empty"]
    assert figures_of(code) == {
        "mean_logprob": None,
        "retried_share": 0.0,
        "retry_reasons": [],
        "length_ratio": 1.0,
        "protected_spans": 1,
    }


def test_only_the_lines_that_were_generated_again_count(tmp_path: Path) -> None:
    _, again, _ = read_rows(translated(tmp_path, segment="line"))
    assert again["retried_share"] == pytest.approx(len("A torn line.") / len(TEXTS[1]), abs=0.03)


def test_without_log_probabilities_the_column_is_empty(tmp_path: Path) -> None:
    rows = list(read_rows(translated(tmp_path, logprobs=False)))
    assert [row["mean_logprob"] for row in rows] == [None, None, None]
    assert [row["protected_spans"] for row in rows] == [2, 0, 1]


def test_filter_keeps_the_figures_of_its_rows(tmp_path: Path) -> None:
    corpus = translated(tmp_path)
    settings = Filter.Settings(
        model=str(tmp_path / "model"),
        corpus=str(corpus),
        units=1,
        engine=EngineSettings(name=f"{__name__}:TearingEngine"),
    )
    stage = Filter(settings, PlainInputs())
    folder = run(stage, tmp_path / "judged")
    rejected = list(read_rows(folder / "rejected"))
    before = {row["id"]: figures_of(row) for row in read_rows(corpus)}
    after = {row["id"]: figures_of(row) for row in [*read_rows(folder), *rejected]}
    assert after == before
