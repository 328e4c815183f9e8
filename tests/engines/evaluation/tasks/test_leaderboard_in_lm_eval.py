"""The group `arabic` in lm-eval itself: what reaches a model, and the means."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from checkout import ROOT
from golden_prompts import golden_prompts, read_golden

BENCHMARKS = {
    "oall_alghafa": "alghafa",
    "oall_arabic_mmlu": "arabic_mmlu",
    "oall_exams": "arabic_exams",
    "oall_madinah_qa": "madinah_qa",
    "oall_aratrust": "aratrust",
    "oall_arabic_mmlu_ht": "arabic_mmlu_ht",
}


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What lm-eval asked in both modes, and its scores."""
    folder = tmp_path_factory.mktemp("leaderboard")
    paths = [ROOT, ROOT / "tests" / "support"]
    environment = os.environ | {
        "HF_HOME": str(folder / "hub"),
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
    }
    out = folder / "out.json"
    command = [sys.executable, str(ROOT / "tests" / "support" / "leaderboard_run.py"), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(Path(out).read_text())


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_reaches_a_model_is_what_lighteval_asks_in_both_modes(answer: Any) -> None:
    for mode in ("plain", "chat"):
        expected = []
        for golden in golden_prompts():
            text, scored = {
                "plain": (golden.plain, golden.scored),
                "chat": (golden.chat, golden.scored_chat),
            }[mode]
            labels = zip(golden.scored, scored, strict=True)
            expected += [[text, label, one] for label, one in labels]
        assert sorted(answer[mode]["asked"]) == sorted(expected)
    assert answer["names"] < 200, "lm-eval's own 14,000 task files are not read"


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_scores_are_means_of_sub_tasks_and_of_six_benchmarks_as_on_the_leaderboard(
    answer: Any,
) -> None:
    scores, means = answer["plain"]["scores"], read_golden()["means"]
    ours = {name: scores[f"{name}/acc_norm"] for name in BENCHMARKS}
    for name, theirs in BENCHMARKS.items():
        assert ours[name] == pytest.approx(means[theirs], abs=1e-12), name
    assert scores["arabic/acc_norm"] == pytest.approx(fmean(ours.values()))
    items = list(golden_prompts())
    assert fmean(one.correct for one in items) != pytest.approx(scores["arabic/acc_norm"])
    # Division by length decides: the sum alone would give other scores.
    assert "oall_alghafa::meta_ar_msa/acc_norm" in scores
    signature = answer["plain"]["signatures"]["oall_alghafa::meta_ar_msa"]
    assert signature.startswith("task:1|shots:0|")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_perturbed_items_are_other_texts_with_the_same_numbers_and_answers(answer: Any) -> None:
    plain, perturbed = answer["plain"], answer["perturbed"]
    assert [[f"{task}+letters", *rest] for task, *rest in plain["targets"]] == perturbed["targets"]
    assert plain["digest"] != perturbed["digest"]
    before, after = ({text for text, _, _ in one["asked"]} for one in (plain, perturbed))
    assert before - after
    assert len(plain["asked"]) == len(perturbed["asked"])
    ours = [perturbed["scores"][f"{name}+letters/acc_norm"] for name in BENCHMARKS]
    assert perturbed["scores"]["arabic+letters/acc_norm"] == pytest.approx(fmean(ours))
