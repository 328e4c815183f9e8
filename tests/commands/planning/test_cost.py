"""GPU hours: estimated before a launch, confirmed above a limit, and held within a budget."""

from pathlib import Path

import pytest
from builds import built_for_gpus, pythons
from checkout import ROOT
from command_line import launch
from slow_run import write_stand_in_recipe

from hala_hpc.core.errors import UNAVAILABLE

REPORT = ["stage=report-1.2b", "recipe=hala"]


def slurm_launcher(folder: Path, more: str = "") -> str:
    """`launcher=...` of a site with GPUs."""
    path = folder / "site.toml"
    path.write_text(f'backend = "slurm"\n{more}\n{pythons(folder, "cuda")}')
    return f"launcher={path}"


def with_gpus(folder: Path, *overrides: str) -> list[str]:
    """A line of one node with two workers of a GPU each, and what it needs."""
    return [
        "stage=all",
        write_stand_in_recipe(folder),
        "arabic.resources.gpus_per_node=1",
        *overrides,
    ]


def hours_in(out: str, node: str) -> str:
    """The cell of a node in the column of GPU hours."""
    lines = out.splitlines()
    header = next(line for line in lines if line.startswith("node "))
    row = next(line for line in lines if line.startswith(f"{node} "))
    start = header.index("workers") + len("workers")
    return row[start : header.index("GPU hours") + len("GPU hours")].strip()


def test_a_dry_run_prints_the_gpu_hours_of_every_node_and_of_all(tmp_path: Path) -> None:
    arguments = [
        *REPORT,
        built_for_gpus(tmp_path, "h100-site"),
        f"work={tmp_path}/w",
        "dry_run=true",
    ]
    arguments.append("max_gpu_hours=50")
    ended = launch(*arguments)
    assert ended.code == 0
    assert hours_in(ended.out, "orca-405k") == "0"
    assert hours_in(ended.out, "merge-1.2b") == "0"
    teacher = float(hours_in(ended.out, "teacher-pairs").removeprefix("~"))
    # 405,000 rows through 111B weights: some 200M tokens at some 600 a second and GPU.
    assert 50 < teacher < 200
    # The same rows through 1.2B.
    assert float(hours_in(ended.out, "arabic-orca").removeprefix("~")) < teacher / 5
    assert "they take about" in ended.out
    assert "an estimate, right within a factor of two or three" in ended.out
    assert "max_gpu_hours=50: the estimate exceeds it; add confirm=true" in ended.out
    assert "confirm=true" not in launch(*arguments, "confirm=true").out


def test_a_faster_gpu_takes_fewer_hours(tmp_path: Path) -> None:
    site = (ROOT / "launchers/h100-site.toml").read_text()
    (tmp_path / "b200.toml").write_text(site.replace('"h100"       #', '"b200"  #'))
    arguments = ["stage=sft-1.2b", "recipe=hala", f"work={tmp_path}/w", "dry_run=true"]
    slow = hours_in(launch(*arguments, "launcher=h100-site").out, "arabic-tulu")
    fast = hours_in(launch(*arguments, f"launcher={tmp_path}/b200.toml").out, "arabic-tulu")
    assert float(fast[1:]) < float(slow[1:]) * 0.6


def test_a_run_on_this_machine_counts_no_gpu_hours(tmp_path: Path) -> None:
    ended = launch("stage=all", "recipe=hala", f"work={tmp_path}/w", "dry_run=true")
    assert "GPU hours" not in ended.out


def test_a_model_of_unknown_size_is_named_and_not_counted(tmp_path: Path) -> None:
    site = built_for_gpus(tmp_path, "h100-site")
    arguments = [
        *REPORT,
        site,
        f"work={tmp_path}/w",
        "dry_run=true",
        "teacher.model=owner/nameless",
    ]
    ended = launch(*arguments)
    assert hours_in(ended.out, "teacher-pairs") == "?"
    assert "GPU hours, 1 nodes not counted: their model or rows are unknown" in ended.out


@pytest.mark.slow
def test_rows_that_were_unknown_are_counted_once_their_node_is_done(tmp_path: Path) -> None:
    arguments = ["recipe=demo", f"work={tmp_path}/work"]
    plan = ["stage=teacher-trained", "launcher=minislurm", "dry_run=true"]
    assert hours_in(launch(*arguments, *plan).out, "teacher-trained") == "?"
    assert launch(*arguments, "stage=lessons").code == 0
    assert hours_in(launch(*arguments, *plan).out, "teacher-trained").startswith("~0.0")


def test_a_launch_above_the_limit_is_refused_with_number_and_fix(tmp_path: Path) -> None:
    work = tmp_path / "work"
    arguments = with_gpus(tmp_path, slurm_launcher(tmp_path), f"work={work}", "max_gpu_hours=0.01")
    refused = launch(*arguments)
    assert refused.code == 78
    assert "max_gpu_hours=0.01: these nodes take about 0.05 GPU hours" in refused.err
    assert "confirm=true submits them, max_gpu_hours=N raises the limit" in refused.err
    assert not work.exists()
    for way in ("confirm=true", "max_gpu_hours=3"):
        # It gets as far as asking for SLURM, which is another matter.
        ended = launch(*arguments[:-1], way, "arabic.resources.mem_gb=1", PATH="")
        assert (ended.code, "GPU hours" in ended.err) == (UNAVAILABLE, False), ended


def test_the_limit_of_the_launcher_is_weaker_than_that_of_the_line(tmp_path: Path) -> None:
    site = slurm_launcher(tmp_path, "max_gpu_hours = 0.02")
    arguments = with_gpus(tmp_path, site, f"work={tmp_path}/work")
    assert "max_gpu_hours=0.02: these nodes take" in launch(*arguments).err
    ended = launch(*arguments, "max_gpu_hours=1", PATH="")
    assert (ended.code, "max_gpu_hours" in ended.err) == (UNAVAILABLE, False), ended


def test_a_budget_that_is_too_small_for_a_launch_refuses_it(tmp_path: Path) -> None:
    site = slurm_launcher(tmp_path, "budget_gpu_hours = 0.01")
    ended = launch(*with_gpus(tmp_path, site, f"work={tmp_path}/work"))
    assert ended.code == 78
    assert "budget_gpu_hours=0.01: 0.00 GPU hours are spent in" in ended.err
    assert "confirm=true submits until the budget is spent" in ended.err
    spent = launch(*with_gpus(tmp_path, site, f"work={tmp_path}/work", "confirm=true"), PATH="")
    assert (spent.code, "budget_gpu_hours" in spent.err) == (UNAVAILABLE, False), spent


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("max_gpu_hours=much", "max_gpu_hours=much: write a number of GPU hours, 0 or more"),
        ("budget_gpu_hours=-1", "budget_gpu_hours=-1: write a number of GPU hours, 0 or more"),
        ("max_gpu_hours=nan", "max_gpu_hours=nan: write a number of GPU hours, 0 or more"),
        ("confirm=maybe", "confirm=maybe: write true or false"),
        ("budget_hours=3", "did you mean 'budget_gpu_hours'?"),
    ],
)
def test_wrong_arguments_about_gpu_hours_are_named(argument: str, message: str) -> None:
    ended = launch("stage=all", "recipe=demo", argument, "dry_run=true")
    assert (ended.code, message in ended.err) == (64, True), ended
