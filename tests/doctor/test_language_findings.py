"""The doctor reports what is missing for the languages of a recipe."""

from pathlib import Path

from checkout import ROOT
from command_line import run_command


def test_the_doctor_reports_what_a_language_lacks_and_what_that_costs(tmp_path: Path) -> None:
    recipe = ROOT / "examples" / "hala-sw.toml"
    done = run_command(
        *(f"recipe={recipe}", "launcher=local", f"work={tmp_path / 'run'}", "stage=translated"),
        module="doctor",
        cwd=ROOT / "examples",
        HF_HOME=str(tmp_path / "hub"),
    )
    output = " ".join(done.out.split())
    assert "translated: number words of Swahili are not known" in output
    assert "an answer that refuses or comments in that language is not found" in output
