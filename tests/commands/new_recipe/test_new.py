"""`hala new` writes a recipe for a pair of languages that can be launched, and what is missing."""

import tomllib
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import run_command

from hala_hpc.commands.new_recipe.pair_head import recipe_head
from hala_hpc.commands.new_recipe.pair_recipe import recipe_nodes
from hala_hpc.commands.new_recipe.pair_request import parse_request
from hala_hpc.commands.new_recipe.pair_sizes import fit_sizes
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.recipe import build_nodes
from hala_hpc.core.stage_registry import look_up_stage
from hala_hpc.data.text.language_support import languages


def text_of(folder: Path, **arguments: str) -> str:
    """The recipe for these arguments."""
    request = parse_request({"to": str(folder / "new.toml"), **arguments})
    sizes = fit_sizes(request)
    return recipe_head(request, sizes) + recipe_nodes(request, sizes)


def nodes_of(text: str) -> dict[str, object]:
    """The nodes of a recipe, checked as a launch does."""
    launcher = Launcher(name="local", backend="local")
    found = build_nodes(
        tomllib.loads(text), {}, launcher, lambda name: look_up_stage(name, Path()), []
    )
    return {name: node.settings for name, node in found.items()}


@pytest.mark.parametrize("code", sorted(languages()))
def test_the_recipe_of_every_language_is_valid(code: str, tmp_path: Path) -> None:
    text = text_of(tmp_path, language=code)
    nodes = nodes_of(text)
    translated = nodes["translated"]
    assert getattr(translated, "target") == code  # noqa: B009
    assert languages()[code].name in getattr(translated, "prompt")  # noqa: B009
    assert max(map(len, text.partition("\n\n")[0].splitlines())) <= 100
    assert ("teacher-pairs" in nodes) == languages()[code].teacher


def test_the_head_names_what_is_missing_and_what_that_costs(tmp_path: Path) -> None:
    head = " ".join(text_of(tmp_path, language="sw").partition("\n\n")[0].split("\n# ")).split()
    text = " ".join(part for part in head if part != "#")
    for part in ("no teacher is known", "OPUS-100 has no pairs", "its verdicts may be random"):
        assert part in text
    assert "nothing that is known here" in text_of(tmp_path, language="ar")


def test_lengths_are_not_checked_where_letters_count_otherwise(tmp_path: Path) -> None:
    checks = {
        code: getattr(nodes_of(text_of(tmp_path, language=code))["translated"], "checks").disabled  # noqa: B009
        for code in ("zh", "th", "fr", "uk")
    }
    assert checks == {"zh": ["length_ratio"], "th": ["length_ratio"], "fr": [], "uk": []}


def test_sizes_follow_the_gpus(tmp_path: Path) -> None:
    large = nodes_of(text_of(tmp_path, language="fr", gpus="8x80"))
    small = nodes_of(text_of(tmp_path, language="fr", gpus="1x24"))
    assert getattr(large["teacher-pairs"], "engine").tensor_parallel_size == 2  # noqa: B009
    assert "teacher-pairs" not in small
    assert getattr(large["tuned"], "resources").world_size == 8  # noqa: B009
    assert getattr(small["tuned"], "resources").world_size == 1  # noqa: B009


def test_the_command_writes_a_file_once_and_reports_all_mistakes_together(tmp_path: Path) -> None:
    done = run_command("language=fr", module="new", cwd=tmp_path)
    assert (done.code, (tmp_path / "fr.toml").is_file()) == (0, True), done
    assert "missing: ratios of lengths" in done.out
    again = run_command("language=fr", "gpus=many", "base=no model", module="new", cwd=tmp_path)
    assert again.code == 64
    for part in ("fr.toml: exists already", "gpus=many: write", "base=no model: neither"):
        assert part in again.err
    assert "did you mean 'sw'" in run_command("language=swa", module="new", cwd=tmp_path).err


@pytest.mark.parametrize("code", ["fr", "sw"])
def test_the_worked_recipes_are_those_that_the_command_writes(code: str, tmp_path: Path) -> None:
    file = f"hala-{code}.toml"
    arguments = {"language": code, "to": file, "gpus": "8x80"}
    request = parse_request({**arguments, "to": str(tmp_path / file)})
    sizes = fit_sizes(request)
    text = recipe_head(request, sizes) + recipe_nodes(request, sizes)
    written = (ROOT / "examples" / file).read_text(encoding="utf-8")
    assert text.replace(str(tmp_path / file), file) == written
