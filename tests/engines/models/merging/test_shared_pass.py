"""The merges of a sweep read their parents once, and each has the result that it has alone."""

import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from merge_parents import tuned_copy
from plain_out import PlainContext, PlainInputs
from thin_models import make_thin_model

from hala_hpc.core.stage import Stage
from hala_hpc.engines.models.merging.merge_record import MERGE_FILE, MergeRecord

VALUES = (0.1, 0.3, 0.5, 0.7, 0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    base = make_thin_model("lfm2", folder / "base", torch_dtype="float32", num_hidden_layers=2)
    tuned_copy(base, folder / "tuned", seed=1)
    return folder


def stage_for(folder: Path, t: float, others: tuple[float, ...]) -> Stage[Any]:
    """The stage of one value of a sweep, with the other values, as a launch sets them."""
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.merge").STAGE
    shared = {"base": str(folder / "base"), "model": str(folder / "tuned"), "try_with": []}

    def settings(value: float) -> Any:
        return kind.Settings.model_validate(shared | {"t": value})

    stage = kind(settings(t), PlainInputs())
    in_sweep = stage.settings_in_sweep([settings(value) for value in others])
    assert in_sweep.result_half() == stage.settings.result_half()
    return kind(in_sweep, PlainInputs())


def run(folder: Path, out: Path, t: float, others: tuple[float, ...]) -> Path:
    """Make the model of one value; the folders of a sweep are beside each other."""
    stage = stage_for(folder, t, others)
    place = PlainContext(out / f"t{t}", stage)
    place.cache = out / "cache"
    stage.run(range(1), place)
    return place.folder(0)


def record(model: Path) -> MergeRecord:
    found = MergeRecord.read(model / MERGE_FILE)
    assert found is not None
    return found


@pytest.mark.slow
def test_five_values_read_both_models_once(folder: Path, tmp_path: Path) -> None:
    made: dict[float, Path] = {}

    def work(t: float) -> None:
        made[t] = run(folder, tmp_path, t, tuple(value for value in VALUES if value != t))

    threads = [threading.Thread(target=work, args=(t,)) for t in VALUES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = sum((folder / name / "model.safetensors").stat().st_size for name in ("base", "tuned"))
    # Every record counts the one pass: its bytes are the tensors of both files, without heads.
    assert {record(model).merged_in_pass for model in made.values()} == {5}
    assert {record(model).bytes_read for model in made.values()} == {record(made[0.5]).bytes_read}
    assert 0.95 * both < record(made[0.5]).bytes_read < both
    for t, model in made.items():
        alone = run(folder, tmp_path / "alone", t, ())
        assert record(model).parameters == {"t": f"{t:g}"}
        assert record(alone).merged_in_pass == 1
        for file in ("model.safetensors", "config.json", "README.md"):
            assert (model / file).read_bytes() == (alone / file).read_bytes(), (t, file)
    # Nothing of the weights is left in the folder of the run.
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.slow
def test_a_later_value_is_made_alone_and_a_lost_one_again(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path, 0.1, (0.3,))
    later = run(folder, tmp_path, 0.5, (0.1, 0.3))
    assert record(later).merged_in_pass == 1
    taken = run(folder, tmp_path, 0.3, (0.1,))
    assert record(taken).merged_in_pass == 2
    # An attempt that was ended after it had taken its model: the next one makes it.
    for file in taken.iterdir():
        file.unlink()
    again = run(folder, tmp_path, 0.3, (0.1,))
    assert record(again).merged_in_pass == 1
