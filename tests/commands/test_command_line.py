"""Every mistake gets one clear error with setting, value and fix; nothing is written."""

import shlex
from pathlib import Path

from command_line import CommandResult, launch, launch_without_root_rights, recipe
from in_one_process import run_commands

from hala_hpc import __version__
from hala_hpc.core.printable import format_command as command_to_type

PREPARE = '[corpus]\nstage = "prepare"\ndata = "{data}"\n'
GOOD_ROW = '{"instruction": "Say hello.", "input": "", "output": "Hello."}\n'


def refused(ended: CommandResult, code: int, *texts: str, work: Path) -> None:
    """The line was refused with this code and these texts, and the work folder was not made."""
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    for text in texts:
        assert text in ended.err, (text, ended.err)
    assert not work.exists()


def rows_file(folder: Path, text: str | bytes = GOOD_ROW) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def launch_prepare(tmp_path: Path, data: Path, work: Path, *overrides: str) -> CommandResult:
    argument = recipe(tmp_path, PREPARE.format(data=data))
    return launch("stage=all", argument, f"work={work}", *overrides)


def test_an_unknown_stage_is_named_with_the_closest_one(tmp_path: Path, work: Path) -> None:
    argument = recipe(tmp_path, PREPARE.format(data=rows_file(tmp_path)))
    ended = launch("stage=prepar", argument, f"work={work}")
    refused(ended, 64, "unknown stage 'prepar': did you mean 'prepare'?", work=work)


def test_an_unknown_stage_inside_a_recipe_names_the_node(tmp_path: Path, work: Path) -> None:
    argument = recipe(tmp_path, '[corpus]\nstage = "prepara"\n')
    ended = launch("stage=all", argument, f"work={work}")
    refused(ended, 64, "node 'corpus': unknown stage 'prepara': did you mean 'prepare'?", work=work)


def test_an_unknown_recipe_is_named_with_the_closest_one(work: Path) -> None:
    ended = launch("stage=all", "recipe=hale", f"work={work}")
    refused(ended, 64, "unknown recipe 'hale': did you mean 'hala'?", work=work)


def test_a_recipe_file_that_is_not_there_is_named(work: Path) -> None:
    ended = launch("stage=all", "recipe=my/own.toml", f"work={work}")
    refused(ended, 66, "recipe=my/own.toml: no such file", "demo", work=work)


def test_a_recipe_that_is_no_toml_is_named_with_its_line(tmp_path: Path, work: Path) -> None:
    ended = launch("stage=all", recipe(tmp_path, "[a\nb"), f"work={work}")
    refused(ended, 78, "recipe.toml is not valid TOML", "line 1", work=work)


def test_every_command_prints_its_version() -> None:
    commands = ["launch", "doctor", "status", "logs", "cancel", "retry", "verify", "__main__"]
    versions = set(run_commands([[command, "--version"] for command in commands]))
    assert versions == {CommandResult(0, f"hala_hpc {__version__}\n", "")}


def test_a_variable_that_only_a_shell_would_expand_is_refused(tmp_path: Path, work: Path) -> None:
    launcher = tmp_path / "site.toml"
    launcher.write_text('backend = "local"\n[environment]\nHF_HOME = "$HOME/secret"\n')
    ended = launch("stage=all", "recipe=demo", f"launcher={launcher}", f"work={work}")
    fix = 'setup = ["export HF_HOME=..."]'
    refused(ended, 78, "environment.HF_HOME holds a `$`", fix, work=work)
    assert "secret" not in ended.err


def test_commands_that_are_printed_are_read_back_by_a_shell() -> None:
    printed = command_to_type("status", "work=/runs/my work; ls")
    assert shlex.split(printed) == ["python", "-m", "hala_hpc.status", "work=/runs/my work; ls"]


def test_an_unknown_launcher_is_named_with_the_closest_one(work: Path) -> None:
    ended = launch("stage=all", "launcher=slrm", f"work={work}")
    refused(ended, 64, "unknown launcher 'slrm': did you mean 'slurm'?", work=work)


def test_an_unknown_setting_is_named_with_the_closest_one(tmp_path: Path, work: Path) -> None:
    ended = launch_prepare(tmp_path, rows_file(tmp_path), work, "corpus.unitz=3")
    refused(ended, 64, "corpus.unitz=3: unknown setting 'unitz': did you mean 'units'?", work=work)


def test_an_unknown_setting_in_a_recipe_is_named_too(tmp_path: Path, work: Path) -> None:
    text = PREPARE.format(data=rows_file(tmp_path)) + "unitz = 3\n"
    ended = launch("stage=all", recipe(tmp_path, text), f"work={work}")
    refused(ended, 64, "unknown setting corpus.unitz=3", "did you mean 'units'?", work=work)


def test_a_wrong_type_names_the_argument_and_the_value(tmp_path: Path, work: Path) -> None:
    ended = launch_prepare(tmp_path, rows_file(tmp_path), work, "corpus.units=many")
    refused(ended, 64, "corpus.units='many'", "valid integer", work=work)


def test_an_argument_without_an_equals_sign_is_named(work: Path) -> None:
    ended = launch("stage=all", "dry-run", f"work={work}")
    refused(ended, 64, "'dry-run' is not of the form key=value", work=work)


def test_several_mistakes_are_reported_together(tmp_path: Path, work: Path) -> None:
    ended = launch_prepare(
        tmp_path, rows_file(tmp_path), work, "corpus.unitz=3", "corpus.units=x", "wrk=1", "a.b=2"
    )
    refused(
        ended,
        64,
        "wrk=1",
        "did you mean 'work'?",
        "'unitz'",
        "corpus.units='x'",
        "a.b=2",
        work=work,
    )
    assert ended.err.count("error: ") == 4


def test_a_cycle_is_reported_with_its_nodes(tmp_path: Path, work: Path) -> None:
    text = (
        '[a]\nstage="merge"\nbase="@b"\nmodel="x/y"\n[b]\nstage="merge"\nbase="@a"\nmodel="x/y"\n'
    )
    ended = launch("stage=all", recipe(tmp_path, text), f"work={work}")
    refused(ended, 78, "a -> b -> a", "cycle", work=work)


def test_a_reference_to_a_missing_node_is_reported_with_the_closest(
    tmp_path: Path, work: Path
) -> None:
    text = PREPARE.format(data=rows_file(tmp_path)) + (
        '[arabic]\nstage="translate"\nmodel="org/model"\ncorpus="@corpsu"\n'
    )
    ended = launch("stage=all", recipe(tmp_path, text), f"work={work}")
    refused(
        ended,
        78,
        "arabic.corpus=@corpsu: there is no node 'corpsu'",
        "did you mean 'corpus'?",
        work=work,
    )


def test_a_reference_to_a_node_of_the_wrong_kind_is_reported(tmp_path: Path, work: Path) -> None:
    text = PREPARE.format(data=rows_file(tmp_path)) + (
        '[arabic]\nstage="translate"\nmodel="@corpus"\ncorpus="@corpus"\n'
    )
    ended = launch("stage=all", recipe(tmp_path, text), f"work={work}")
    refused(
        ended, 78, "arabic.model=@corpus: corpus makes corpus, but model takes model", work=work
    )


def test_a_missing_input_file_is_reported(tmp_path: Path, work: Path) -> None:
    ended = launch_prepare(tmp_path, tmp_path / "gone.jsonl", work)
    refused(ended, 66, "gone.jsonl", work=work)


def test_an_unreadable_input_file_is_reported(tmp_path: Path, work: Path) -> None:
    data = rows_file(tmp_path)
    data.chmod(0)
    argument = recipe(tmp_path, PREPARE.format(data=data))
    ended = launch_without_root_rights("stage=all", argument, f"work={work}")
    refused(ended, 66, "rows.jsonl", "Permission denied", work=work)


def test_an_input_that_is_a_folder_without_data_is_reported(tmp_path: Path, work: Path) -> None:
    (tmp_path / "nothing").mkdir()
    ended = launch_prepare(tmp_path, tmp_path / "nothing", work)
    refused(ended, 66, "nothing", "has no data files", work=work)


def test_an_empty_data_set_is_reported(tmp_path: Path, work: Path) -> None:
    refused(launch_prepare(tmp_path, rows_file(tmp_path, ""), work), 65, "rows.jsonl", work=work)


def test_rows_without_the_needed_fields_are_reported(tmp_path: Path, work: Path) -> None:
    data = rows_file(tmp_path, '{"question": "a", "answer": "b"}\n')
    ended = launch_prepare(tmp_path, data, work)
    refused(ended, 65, "rows.jsonl", "question", "answer", work=work)


def test_a_model_path_without_weights_is_reported(tmp_path: Path, work: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    text = PREPARE.format(data=rows_file(tmp_path)) + (
        f'[arabic]\nstage="translate"\nmodel="{tmp_path / "model"}"\ncorpus="@corpus"\n'
    )
    ended = launch("stage=all", recipe(tmp_path, text), f"work={work}")
    refused(ended, 66, "arabic: ", str(tmp_path / "model"), "weights", work=work)


def test_slurm_without_sbatch_on_the_path_is_reported(tmp_path: Path, work: Path) -> None:
    argument = recipe(tmp_path, PREPARE.format(data=rows_file(tmp_path)))
    ended = launch("stage=all", argument, f"work={work}", "launcher=slurm", PATH="/nowhere")
    refused(ended, 69, "no `sbatch` on the PATH", "launcher=local", work=work)


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    work = tmp_path / "file" / "work"
    ended = launch_prepare(tmp_path, rows_file(tmp_path), work)
    assert ended.code == 73
    assert f"work={work} cannot be written" in ended.err


def test_bad_lines_are_rejected_with_reason_and_line_number(tmp_path: Path, work: Path) -> None:
    import json

    good = [GOOD_ROW.replace("hello", f"hello {n}").encode() for n in range(60)]
    data = rows_file(
        tmp_path,
        b"".join(
            [
                *good[:10],
                b'{"instruction": \n',
                *good[10:20],
                b'{"instruction": "\xff", "output": "x"}\n',
                *good[20:],
            ]
        ),
    )
    ended = launch_prepare(tmp_path, data, work)
    assert ended.code == 0, ended
    output = work / "latest" / "corpus" / "output"
    rejected = [
        json.loads(argument)
        for path in sorted(output.glob("rejected-*.jsonl"))
        for argument in path.read_text().splitlines()
    ]
    assert sorted(row["line"] for row in rejected) == [11, 22]
    assert all(row["reason"] for row in rejected)
    summary = json.loads((work / "latest" / "corpus" / "summary.json").read_text())
    assert (summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (62, 60, 2)


def test_a_data_set_with_mostly_bad_rows_fails_with_counts(tmp_path: Path, work: Path) -> None:
    data = rows_file(tmp_path, GOOD_ROW + "{broken\n" * 9)
    ended = launch_prepare(tmp_path, data, work)
    assert ended.code == 65, ended
    assert "9" in ended.err
    assert "Traceback" not in ended.err
