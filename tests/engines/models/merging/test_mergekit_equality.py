"""Merges beside those of mergekit's command line, number by number."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from merge_parents import tuned_copy
from plain_out import run_plain
from random_models import random_lfm2

from hala_hpc.engines.models.tensors import iter_tensors

#: No number is off by more than a step of bfloat16, and so many are at all.
MAX_OFF_SHARE = 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base in bfloat16 and three tuned models; one is far away, so that slerp has an arc."""
    folder = tmp_path_factory.mktemp("equality")
    base = random_lfm2(folder / "base", seed=1, dtype="bfloat16")
    tuned_copy(base, folder / "tuned", seed=1)
    tuned_copy(base, folder / "second", seed=2)
    tuned_copy(base, folder / "far", seed=3, change=1.0)
    return folder


def with_mergekit(folder: Path, out: Path, recipe: dict[str, Any]) -> Path:
    """What `mergekit-yaml` writes, run in this process: its imports take many seconds."""
    from click.testing import CliRunner
    from mergekit.scripts.run_yaml import main

    out.mkdir(parents=True)
    text = yaml.safe_dump(recipe | {"dtype": "float32", "out_dtype": "bfloat16"})
    (out / "recipe.yml").write_text(text.replace("DIR", str(folder)))
    arguments = [str(out / "recipe.yml"), str(out / "made"), "--no-write-model-card", "--quiet"]
    done = CliRunner().invoke(main, [*arguments, "--no-copy-tokenizer"])
    assert done.exit_code == 0, done.output
    return out / "made"


def model(name: str, **parameters: Any) -> dict[str, Any]:
    return {"model": f"DIR/{name}", "parameters": parameters}


BASE = {"base_model": "DIR/base"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "linear": (
        {"method": "linear", "model": ["tuned"], "t": 0.3},
        {
            "merge_method": "linear",
            "models": [model("base", weight=0.7), model("tuned", weight=0.3)],
        },
    ),
    "soup": (
        {"method": "linear", "model": ["tuned", "second"], "t": 1, "weights": [0.25, 0.75]},
        {
            "merge_method": "linear",
            "models": [model("tuned", weight=0.25), model("second", weight=0.75)],
        },
    ),
    "slerp": (
        {"method": "slerp", "model": ["far"], "t": {"feed_forward": [0, 1, 0.5], "rest": 0.4}},
        {
            "merge_method": "slerp",
            "models": [model("base"), model("far")],
            "parameters": {"t": [{"filter": "feed_forward", "value": [0, 1, 0.5]}, {"value": 0.4}]},
        }
        | BASE,
    ),
    "nuslerp": (
        {"method": "nuslerp", "model": ["far"], "t": 0.4},
        {
            "merge_method": "nuslerp",
            "models": [model("base", weight=0.6), model("far", weight=0.4)],
        },
    ),
    "task_arithmetic": (
        {
            "method": "task_arithmetic",
            "model": ["tuned", "second"],
            "weights": [0.5, 0.8],
            "scale": 1.25,
        },
        {
            "merge_method": "task_arithmetic",
            "models": [model("tuned", weight=0.5), model("second", weight=0.8)],
            "parameters": {"lambda": 1.25},
        }
        | BASE,
    ),
    "ties": (
        {"method": "ties", "model": ["tuned", "second"], "density": 0.4},
        {
            "merge_method": "ties",
            "models": [model(name, weight=1, density=0.4) for name in ("tuned", "second")],
        }
        | BASE,
    ),
    "model_stock": (
        {"method": "model_stock", "model": ["tuned", "second", "far"]},
        {"merge_method": "model_stock", "models": [model("tuned"), model("second"), model("far")]}
        | BASE,
    ),
    "karcher": (
        {"method": "karcher", "model": ["tuned", "far"]},
        {"merge_method": "karcher", "models": [model("tuned"), model("far")]},
    ),
}


def steps_of_bfloat16(one: Any, other: Any) -> Any:
    """Count the bfloat16 numbers between the numbers of two tensors."""
    import torch

    places = []
    for tensor in (one, other):
        bits = tensor.view(torch.int16).int()
        places.append(torch.where(bits < 0, -32768 - bits, bits))
    return (places[0] - places[1]).abs()


@pytest.mark.long
def test_every_method_gives_the_numbers_of_mergekits_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, (settings, recipe) in CASES.items():
        models = [str(folder / one) for one in settings["model"]]
        of_merge = settings | {"base": str(folder / "base"), "model": models, "try_with": []}
        ours = dict(iter_tensors(run_plain("merge", of_merge, tmp_path / name).folder(0)))
        theirs = dict(iter_tensors(with_mergekit(folder, tmp_path / f"{name}-kit", recipe)))
        assert ours.keys() == theirs.keys(), name
        off = 0
        for key, tensor in ours.items():
            steps = steps_of_bfloat16(tensor, theirs[key])
            assert int(steps.max()) <= 1, (name, key)
            off += int((steps > 0).sum())
        total = sum(tensor.numel() for tensor in ours.values())
        assert off <= MAX_OFF_SHARE * total, (name, off, total)
