"""The measurement on one GPU: its parts fit its time, it runs thin, and packs fill gaps only."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

from benchmarks.common.waiting import wait_until
from benchmarks.gpu.need import need
from benchmarks.gpu.pack import GIVEN, MAX_BYTES, WANTED, cut_to, locked, needed
from benchmarks.gpu.packed import put_on_path
from benchmarks.gpu.parts import PARTS, WHOLE_LIMIT_S, Part
from benchmarks.gpu.run_parts import run_part
from benchmarks.gpu.scale import CARD, SMALL

#: Seconds after which the thin run is taken not to end: six starts of torch on a busy machine.
LIMIT_S = 1800


def test_all_parts_end_within_eight_minutes_on_the_card() -> None:
    assert sum(part.limit_s for part in PARTS) <= WHOLE_LIMIT_S == 480


def test_every_part_is_a_module_that_can_be_found() -> None:
    for part in PARTS:
        assert (ROOT / "benchmarks" / "gpu" / f"{part.name}.py").is_file(), part


def test_the_card_trains_the_shape_of_lfm2_and_the_thin_run_the_same_kinds_of_layers() -> None:
    assert CARD.shape()["hidden_size"] == 2048
    assert SMALL.shape().keys() == CARD.shape().keys()
    assert CARD.attention_shape()["model_type"] == "qwen2"


def test_the_requirements_of_each_part_fit_one_h200() -> None:
    needs = {part.name: need(part) for part in PARTS}
    largest = max(one.gpu_gb or 0.0 for one in needs.values())
    assert 40 < largest < 130, "less than the 139 GB of the card, and no toy"
    assert needs["merging"].gpu_gb == 0
    assert 2.1 < needs["scoring"].disk_gb < 2.5, "1.2 billion weights in bfloat16"


def test_a_part_without_packages_or_time_reports_it_and_starts_nothing(
    tmp_path: Path,
) -> None:
    lacking = Part("node_probe", 10, ("json", "no_such_package"), "")
    assert run_part(lacking, "thin", tmp_path, 100.0).error == "not here: no_such_package"
    late = run_part(PARTS[0], "thin", tmp_path, 3.0)
    assert late.error == "no time was left for it"
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_fails_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    failed = run_part(Part("no_such_part", 60, (), ""), "thin", tmp_path, 100.0)
    assert "no_such_part" in (failed.error or "")
    hanging = run_part(Part("memory", 0, (), ""), "thin", tmp_path, 100.0)
    assert hanging.error == "ended after its 0 s"
    assert hanging.found == ()


@pytest.mark.slow
def test_an_interrupted_run_ends_its_part_and_prints_its_figures() -> None:
    import psutil

    command = [sys.executable, "-m", "benchmarks.gpu", "--thin", "--parts", "node_probe"]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout
    assert run.stderr
    try:
        assert b"node_probe: driver" in run.stderr.readline()
        started: list[Any] = []

        def has_started() -> bool:
            started[:] = psutil.Process(run.pid).children(recursive=True)
            return bool(started)

        wait_until(has_started, "the start of a part", 60, 0.02)
        run.terminate()
        result, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert json.loads(result.splitlines()[-1])["parts"] == []
    assert not any(child.is_running() for child in started)


def wheel(folder: Path, name: str, module: str) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr(f"{module}.py", "")


def test_a_pack_brings_what_is_missing_and_leaves_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack, site = tmp_path / "pack", tmp_path / "site"
    wheel(pack, "lab_thing-1.0-py3-none-any.whl", "lab_thing")
    wheel(pack, "lab_old-1.0-cp27-cp27m-manylinux2014_x86_64.whl", "lab_old")
    wheel(pack, "pydantic-9.9-py3-none-any.whl", "pydantic")
    own = f"py{sys.version_info.major}{sys.version_info.minor}"
    wheel(pack, f"lab_own-2.0-{own}-none-any.whl", "lab_own")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "/before")
    found = put_on_path(pack, site)
    assert found.taken == ["lab_own 2.0", "lab_thing 1.0"]
    assert found.there == ["pydantic"]
    assert found.unfit == ["lab_old-1.0-cp27-cp27m-manylinux2014_x86_64.whl"]
    assert {path.name for path in site.iterdir()} == {"lab_own.py", "lab_thing.py"}
    child = [sys.executable, "-c", "import lab_thing, sys; print(sys.path.index(sys.argv[1]))"]
    subprocess.run([*child, str(site)], check=True, capture_output=True)


def test_no_pack_is_no_error(tmp_path: Path) -> None:
    assert put_on_path(tmp_path / "nowhere", tmp_path / "site").taken == []


def test_what_travels_is_in_the_lock_with_its_digests_and_torch_is_none_of_it() -> None:
    lines = locked(needed(WANTED, GIVEN), "3.12")
    assert {"trl", "datasets", "pydantic-core", "mergekit", "liger-kernel"} <= lines.keys()
    assert not lines.keys() & {"torch", "numpy", "transformers", "vllm", "deepspeed"}
    assert all("--hash=sha256:" in entry for entry in lines.values())
    # Of two versions the one for that Python; pip would ask the Python that runs it.
    assert locked({"scipy"}, "3.11") != locked({"scipy"}, "3.12")
    assert ";" not in lines["scipy"]


def test_the_largest_wheels_stay_where_all_are_too_large(tmp_path: Path) -> None:
    for name, size in (("small", 10), ("large", 90), ("middle", 30)):
        (tmp_path / f"{name}-1-py3-none-any.whl").write_bytes(b"x" * size)
    assert cut_to(tmp_path, 50) == ["large-1-py3-none-any.whl"]
    assert len(list(tmp_path.iterdir())) == 2
    assert MAX_BYTES == 64 * 2**20


def figures_of(result: dict[str, Any], part: str) -> list[dict[str, Any]]:
    return next(list(one["found"]) for one in result["parts"] if one["part"] == part)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(LIMIT_S + 100)
def test_the_thin_run_ends_on_a_cpu_and_prints_the_requirements() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--thin"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert {one["part"]: one["error"] for one in result["parts"]} == {
        part.name: None for part in PARTS
    }
    assert [one["part"] for one in result["on_card"]] == [part.name for part in PARTS]
    trained = {one["trial"]: one for one in figures_of(result, "training")}
    packed = trained["attention alone, packed, sdpa"]
    assert packed["fill"] > trained["attention alone, grouped, sdpa"]["fill"]
    assert all(one["tokens_per_s"] for one in trained.values() if one["error"] is None)
    assert sum(one["error"] is None for one in trained.values()) == 6
    assert all(one["estimated_gb"] for one in figures_of(result, "memory"))
    flex, sdpa = figures_of(result, "capped")
    assert "GPU" in flex["not_run"]
    assert not sdpa["is_equal"], "sdpa drops the cap"
    (merged,) = figures_of(result, "merging")
    assert merged["lost"] == []
    (scored,) = figures_of(result, "scoring")
    assert scored["alone_differs"] < 0.1
    assert result["facts"]["versions"]["trl"]
