"""What a login node prints: help, plans, scripts; fast and without heavy libraries."""

import pstats
import subprocess
import sys
from pathlib import Path

from builds import built_for_gpus
from checkout import ROOT
from command_line import STAGES, launch, recipe

from benchmarks.common.waiting import WAIT_S

HALA = ("stage=all", "recipe=hala", "dry_run=true")
HEAVY = ("torch", "transformers", "datasets", "vllm", "pyarrow", "numpy", "importlib.metadata")


def hala_arguments(folder: Path) -> list[str]:
    """The line of a dry run of the whole recipe for a cluster with GPUs."""
    return [*HALA, built_for_gpus(folder, "h100-site"), f"work={folder}/work"]


def test_help_names_every_argument_stage_recipe_and_launcher() -> None:
    ended = launch("--help")
    assert ended.code == 0
    for name in (
        "stage",
        "recipe",
        "launcher",
        "work",
        "dry_run",
        *STAGES,
        "demo",
        "hala",
        "local",
    ):
        assert name in ended.out


def test_help_of_a_stage_explains_every_setting() -> None:
    for stage in STAGES:
        ended = launch(f"stage={stage}", "--help")
        assert ended.code == 0, ended
        lines = ended.out.split("settings of")[1].splitlines()[1:]
        settings = [n for n, line in enumerate(lines) if line[:3].strip() and line[2] != " "]
        assert len(settings) > 8
        unexplained = [lines[n] for n in settings if not lines[n + 1].startswith("      ")]
        assert unexplained == []


#: What every command must do: start Python, import pydantic and make one type.
MINIMAL_COMMAND = """
from hala_hpc.core.startup import prepare_process
prepare_process()
from pydantic import BaseModel
class Type(BaseModel):
    number: int = 1
Type(number=2)
"""


def calls_of(folder: Path, *arguments: str) -> int:
    """Python and C functions that a command calls: its work, the same on every machine."""
    profile = folder / "profile"
    command = [sys.executable, "-m", "cProfile", "-o", str(profile), *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd=ROOT, timeout=WAIT_S)
    return int(pstats.Stats(str(profile)).total_calls)  # type: ignore[attr-defined]


def test_a_dry_run_of_the_whole_hala_recipe_does_little_more_than_a_command_must(
    tmp_path: Path,
) -> None:
    package = str(ROOT / "hala_hpc")
    subprocess.run([sys.executable, "-m", "compileall", "-q", package], check=True)
    whole = calls_of(tmp_path, "-m", "hala_hpc.launch", *hala_arguments(tmp_path))
    (tmp_path / "smallest.py").write_text(MINIMAL_COMMAND)
    smallest = calls_of(tmp_path, str(tmp_path / "smallest.py"))
    # 5.2 where a dry run took 0.39 s of CPU, and the other command 0.15 s.
    assert whole < 5.5 * smallest


def test_a_dry_run_imports_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from hala_hpc.core.startup import prepare_process; prepare_process(); "
        "from hala_hpc.launch import launch; "
        f"assert launch({hala_arguments(tmp_path)!r}) == 0; "
        f"found = [m for m in {HEAVY!r} if m in sys.modules]; assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert done.returncode == 0, done.stderr


def test_a_dry_run_prints_units_workers_resources_dependencies_and_scripts(tmp_path: Path) -> None:
    ended = launch(*hala_arguments(tmp_path))
    row = next(line for line in ended.out.splitlines() if line.startswith("arabic-scp "))
    assert "new" in row
    assert " 256 " in row
    assert "translator, scp" in row
    assert "--array=0-15 " in ended.out
    assert "afterok:<gate of translator>" in ended.out
    assert "afterany:<workers of arabic-scp>" in ended.out
    assert "model LiquidAI/LFM2-1.2B: is not in the hub cache" in ended.out
    arguments = f"stage=all recipe=hala launcher={tmp_path}/h100-site.toml work={tmp_path}/work"
    assert f"python -m hala_hpc.fetch {arguments}" in ended.out
    assert not (tmp_path / "work").exists()


def test_the_four_sizes_share_all_but_their_own_nodes(tmp_path: Path) -> None:
    nodes = {}
    for size in ("350m", "700m", "1.2b", "9b"):
        ended = launch(f"stage=report-{size}", "recipe=hala", f"work={tmp_path}/w", "dry_run=true")
        assert ended.code == 0, ended
        nodes[size] = {line.split()[0] for line in ended.out.splitlines() if " new " in line}
        assert f"sft-{size}" in nodes[size]
    assert "sft-9b" not in nodes["350m"]
    assert "arabic-orca" in nodes["350m"] & nodes["700m"] & nodes["1.2b"] & nodes["9b"]


def test_a_list_for_a_single_value_is_a_sweep_over_what_depends_on_it(tmp_path: Path) -> None:
    ended = launch(
        "stage=report-350m",
        "recipe=hala",
        "merge-350m.t=0.3,0.7",
        "dry_run=true",
        f"work={tmp_path}/w",
    )
    names = [line.split()[0] for line in ended.out.splitlines() if " new " in line]
    assert {"merge-350m-t0.3", "merge-350m-t0.7", "scores-350m-t0.3", "report-350m-t0.7"} <= {
        *names
    }
    assert names.count("sft-350m") == 1


def test_an_override_is_read_by_the_type_of_its_setting(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    text = (
        f'[corpus]\nstage="prepare"\ndata="{tmp_path}/rows.jsonl"\n'
        '[arabic]\nstage="translate"\nmodel="org/model"\ncorpus="@corpus"\n'
    )
    argument = recipe(tmp_path, text)
    made = (
        "from hala_hpc.commands.command_line import parse_command_line; "
        f"arguments = ['stage=all', {argument!r}, 'arabic.target=no', 'arabic.source=1.10']; "
        "line = parse_command_line(arguments); "
        "settings = line.nodes['arabic'].settings; print(settings.target, settings.source)"
    )
    done = subprocess.run(
        [sys.executable, "-c", made], capture_output=True, text=True, check=True, timeout=WAIT_S
    )
    assert done.stdout.split() == ["no", "1.10"]
