"""report: one page of tables and curves from node summaries."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, recipe
from page_markup import PageMarkup
from plain_out import PlainContext, PlainInputs

from hala_hpc.core.errors import UserError
from hala_hpc.core.records import NodeSummary
from hala_hpc.core.stage import Stage
from hala_hpc.engines.evaluation.report import shorten_commits

BASE: dict[str, Any] = {
    "fingerprint": "0123456789ab",
    "units": 1,
    "rows_in": 100,
    "rows_out": 97,
    "rows_rejected": 3,
    "rejected": {"too_long": 2, "truncated": 1},
    "tokens_in": 5000,
    "tokens_out": 0,
    "seconds": 12.5,
    "details": {},
    "versions": {"torch": "2.13.0"},
    "commit": "c0ffee",
}
SFT = BASE | {
    "node": "translator",
    "stage": "sft",
    "details": {
        "steps": 30,
        "ranks": 2,
        "engine": "deepspeed zero-2",
        "dtype": "float32",
        "loss_first": 6.5,
        "loss_last": 0.25,
        "curve": [
            {"step": 1, "loss": 6.5, "learning_rate": 0.0, "tokens_per_s": 900.0},
            {"step": 30, "loss": 0.25, "learning_rate": 0.001, "tokens_per_s": None},
        ],
    },
}
SCORES = BASE | {
    "node": "scores",
    "stage": "evaluate",
    "details": {
        "scores": {
            "base": {"bleu": 1.25, "chrf++": 10.0, "arabicmmlu/acc": 0.25},
            "tuned": {"bleu": 41.5, "chrf++": 60.0, "arabicmmlu/acc": 0.5},
            "merged": {"bleu": 40.0, "chrf++": 59.5},
        },
        "errors": {"base": {"arabicmmlu/acc": 0.0125}},
        "samples": {"base": {"bleu": 200}},
        "signatures": {"base": {"bleu": "nrefs:1|case:mixed"}},
    },
}
QUANTIZE = BASE | {
    "node": "teacher",
    "stage": "quantize",
    "details": {
        "scheme": "FP8_DYNAMIC",
        "fp8_weights": 14,
        "bytes_before": 4_000_000,
        "bytes_after": 2_000_000,
    },
}
CHANGE = {"kind": "conv", "angle_degrees": [1.25], "relative_change": [0.021], "linear_share": 1.0}
MERGED = {"method": "slerp", "parameters": {"t": "0.5"}, "weights": 151520, "changes": [CHANGE]}
MERGE = BASE | {"node": "merge", "stage": "merge", "details": MERGED}


def report(folder: Path, *summaries: dict[str, Any], title: str = "A run") -> tuple[str, str]:
    """HTML and Markdown of a report about nodes."""
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.report").STAGE
    nodes = [f"@{summary['node']}" for summary in summaries]
    read = [NodeSummary.model_validate(summary) for summary in summaries]
    inputs = PlainInputs(summaries=dict(zip(nodes, read, strict=True)))
    stage = kind(kind.Settings(nodes=nodes, title=title), inputs)  # type: ignore[call-arg]
    out = PlainContext(folder, stage)
    stage.run([0], out)
    assert out.facts is not None
    made = out.folder(0)
    return (made / "report.html").read_text(), (made / "report.md").read_text()


def cells(markdown: str, first: str) -> list[str]:
    """The cells of the first row with this first cell."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_models_are_side_by_side_with_their_gains(tmp_path: Path) -> None:
    _, markdown = report(tmp_path, SCORES)
    assert cells(markdown, "score") == ["score", "base", "tuned", "merged", "samples"]
    bleu = cells(markdown, "BLEU")
    assert bleu == ["BLEU", "1.25", "41.50 (+40.25)", "40.00 (+38.75)", "200"]
    assert "nrefs:1" in markdown


def test_a_missing_score_is_a_dash(tmp_path: Path) -> None:
    _, markdown = report(tmp_path, SCORES)
    accuracy = cells(markdown, "arabicmmlu/acc")
    assert accuracy == ["arabicmmlu/acc", "0.2500 ± 0.0125", "0.5000 (+0.2500)", "–", "–"]


def test_a_score_with_an_interval_shows_it_instead_of_its_error(tmp_path: Path) -> None:
    details = SCORES["details"] | {"intervals": {"base": {"arabicmmlu/acc": [0.2265, 0.2755]}}}
    html, markdown = report(tmp_path, SCORES | {"details": details})
    accuracy = cells(markdown, "arabicmmlu/acc")
    assert accuracy[1:3] == ["0.2500 [0.2265, 0.2755]", "0.5000 (+0.2500)"]
    assert markdown.count("95 % interval") == 1, "only the table with intervals explains them"
    assert "95 % interval" in html


def test_every_row_is_accounted_for_with_its_reason(tmp_path: Path) -> None:
    _, markdown = report(tmp_path, SFT)
    row = cells(markdown, "translator")
    assert row[2:] == ["1", "100", "97", "3", "5,000", "0", "12.5", "400"]
    assert "| translator | too_long | 2 |" in markdown
    assert "| translator | truncated | 1 |" in markdown


def test_similar_rows_of_prepare_are_listed_with_their_counts(tmp_path: Path) -> None:
    pair = {
        "reason": "near-duplicate",
        "row": "a.jsonl, line 7",
        "text": "What is <b>?",
        "match": "a.jsonl, line 2",
        "match_text": "What is it?",
        "similarity": 0.9141,
    }
    benchmark = {"name": "exams", "rows": 9, "texts": 20, "short_texts": 12}
    quality = {
        "found": {"near-duplicate": 2, "refusal": 3},
        "benchmarks": [benchmark],
        "listed": [pair, pair | {"reason": "contaminated", "similarity": None}],
    }
    rows = BASE | {"node": "rows", "stage": "prepare", "rejected": {"near-duplicate": 2, "x": 1}}
    _, markdown = report(tmp_path, rows | {"details": {"quality": quality}})
    assert "| rows | near-duplicate | 2 | 2 |" in markdown
    assert "| rows | refusal | 3 | 0 |" in markdown
    assert "searched: exams, 12 of its 20 texts are too short" in markdown
    similar = "| a.jsonl, line 7 | What is &lt;b&gt;? | a.jsonl, line 2 | What is it? | 0.91 |"
    assert f"| rows | near-duplicate {similar}" in markdown
    assert "| rows | contaminated | a.jsonl, line 7 |" in markdown


def test_the_loss_of_each_training_is_drawn(tmp_path: Path) -> None:
    html, _ = report(tmp_path, SFT)
    assert "Training of translator" in html
    assert "Loss 6.500 to 0.250 in 30 steps." in html


def test_compressed_and_merged_models_are_described(tmp_path: Path) -> None:
    _, markdown = report(tmp_path, QUANTIZE, MERGE)
    assert "FP8_DYNAMIC: 14 FP8 weights, 4.00 MB to 2.00 MB" in markdown
    assert (
        "slerp with t = 0.5, 151,520 weights; conv 1.25 degrees, 2.1 % changed, 100 % of it "
        "interpolated linearly"
    ) in markdown


def test_the_page_needs_no_other_file_and_is_whole(tmp_path: Path) -> None:
    html, _ = report(tmp_path, SFT, SCORES, QUANTIZE, MERGE)
    page = PageMarkup(html)
    assert list(page.addresses()) == []
    assert page.faults == []


def test_text_of_data_never_becomes_markup(tmp_path: Path) -> None:
    evil = SFT | {"rejected": {"<script>alert(1)</script>": 2, "a|b": 1}}
    html, markdown = report(tmp_path, evil, title="<b>bold</b>")
    for text in (html, markdown):
        assert "<script>alert" not in text
        assert "<b>bold" not in text
    assert "a\\|b" in markdown


def test_a_truncated_page_is_not_committed(tmp_path: Path) -> None:
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.report").STAGE
    stage = kind(kind.Settings(nodes=["@sft"]), PlainInputs())  # type: ignore[call-arg]
    (tmp_path / "report.html").write_text("<html>@sft")
    (tmp_path / "report.md").write_text("@sft")
    with pytest.raises(UserError, match=r"report\.html is truncated"):
        stage.check(0, tmp_path)


def test_an_entry_that_is_no_node_reference_is_refused(tmp_path: Path) -> None:
    text = '[page]\nstage = "report"\nnodes = ["sft"]\n'
    ended = launch(recipe(tmp_path, text), "stage=all", f"work={tmp_path / 'work'}")
    assert ended.code == 78
    assert "write @sft" in ended.err


def test_a_commit_whose_files_were_changed_has_codes_where_it_is_shortened() -> None:
    long, other = "6d78d78c0ffee0123456", "60e2239c0ffee0123456"
    assert shorten_commits(f"{long}+, {other}") == "6d78d78c0ffe+, 60e2239c0ffe"
    assert shorten_commits("") == ""
