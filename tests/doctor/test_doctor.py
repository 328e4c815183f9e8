"""The doctor: findings about folders, environments and inputs, and their output."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandResult, recipe, run_command
from message_checks import assert_message

from benchmarks.common.waiting import WAIT_S
from hala_hpc.backends.slurm import parsing
from hala_hpc.doctor.folders import timed
from hala_hpc.engines.models.gpus import has_fp8

pytestmark = pytest.mark.kinds

#: A node whose jobs need only the main environment.
PREPARE = '[rows]\nstage = "prepare"\ndata = "{data}"\nunits = 2\n'
TRANSLATE = '[words]\nstage = "translate"\nmodel = "{model}"\ncorpus = "{corpus}"\n'


def doctor(*arguments: str, **env: str) -> CommandResult:
    return run_command(*arguments, module="doctor", cwd=None, **env)


def found(ended: CommandResult) -> list[dict[str, Any]]:
    """The findings of a call with format=json; checks their fields."""
    findings: list[dict[str, Any]] = json.loads(ended.out)["findings"]
    assert all(one["what"] and one["why"] for one in findings)
    assert all(one["fix"] for one in findings if one["state"] != "good")
    return findings


def of(findings: list[dict[str, Any]], topic: str, state: str = "error") -> str:
    """The findings of one topic and state as one text, with their fixes."""
    chosen = [one for one in findings if (one["topic"], one["state"]) == (topic, state)]
    return "\n".join(f"{one['what']} -> {one['fix']}" for one in chosen)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """The override `recipe=` for a recipe that prepares a small file."""
    data = tmp_path / "rows.jsonl"
    data.write_text('{"instruction": "Add", "input": "", "output": "done"}\n' * 9)
    return recipe(tmp_path, PREPARE.format(data=data))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder that, like its parents, only its owner can change."""
    folder = tmp_path / "work"
    folder.mkdir(mode=0o700)
    return folder


def launcher(folder: Path, text: str) -> str:
    """The override `launcher=` for a launcher with this text."""
    path = folder / "site.toml"
    path.write_text(text)
    return f"launcher={path}"


def test_help_names_every_override_and_a_wrong_one_is_named() -> None:
    result = doctor("--help")
    assert result.code == 0
    assert all(
        argument in result.out for argument in ("launcher", "work", "recipe", "job", "format")
    )
    wrong = doctor("luncher=local", "format=xml", "stage=all")
    assert wrong.code == 64
    assert_message(wrong.err, "did you mean 'launcher'?")
    assert_message(wrong.err, "format=xml: write text or json")
    assert "recipe=" in wrong.err


def test_a_healthy_machine_gets_code_0_and_nothing_is_left_there(work: Path, rows: str) -> None:
    result = doctor("launcher=local", f"work={work}", rows, "format=json")
    findings = found(result)
    assert {one["state"] for one in findings} <= {"good", "warn"}, result.out
    assert result.code == 0
    topics = ["folders", "environments", "cluster"]
    assert list(dict.fromkeys(one["topic"] for one in findings)) == topics
    assert_message(of(findings, "folders", "good"), "write, fsync, link, rename and read back work")
    assert list(work.iterdir()) == []
    text = doctor("launcher=local", f"work={work}/new", rows)
    assert text.code == 0
    assert_message(text.out, f"will be created under {work}")
    assert_message(text.out, " 0 errors\n")
    assert list(work.iterdir()) == []


def test_a_work_folder_that_others_may_change_is_named_unless_it_has_a_sticky_bit(
    work: Path, rows: str
) -> None:
    for mode, code in ((0o777, 78), (0o770, 0), (0o1777, 0), (0o755, 0)):
        work.chmod(mode)
        result = doctor("launcher=local", f"work={work}", rows, "format=json")
        assert result.code == code, (oct(mode), result.out)
        state = {0o777: "error", 0o770: "warn"}.get(mode)
        if state:
            assert_message(of(found(result), "folders", state), f"chmod go-w {work}")
        else:
            assert "chmod" not in of(found(result), "folders")


def test_a_folder_that_cannot_be_written_is_bad_and_named(
    work: Path, rows: str, tmp_path: Path
) -> None:
    file = work / "file"
    file.write_text("")
    for folder, reason in (("/proc/self/nowhere", "cannot be written"), (f"{file}", "is a file")):
        result = doctor("launcher=local", f"work={folder}", rows, "format=json")
        assert result.code == 78
        assert_message(of(found(result), "folders"), reason)
        assert_message(of(found(result), "folders"), "to another folder")
    site = launcher(
        tmp_path,
        'backend = "local"\n[environment]\nTRITON_CACHE_DIR = "/proc/self/x"\nHF_HOME = "/proc/y"',
    )
    result = doctor(site, f"work={work}", rows, "format=json")
    assert_message(of(found(result), "folders"), "TRITON_CACHE_DIR /proc/self/x")
    assert_message(of(found(result), "folders", "warn"), "HF_HOME /proc/y")


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(
    ("calls", "step"),
    [("fsync", "synced"), ("link,linkat", "linked"), ("rename,renameat,renameat2", "renamed")],
)
def test_a_file_system_that_refuses_one_step_is_bad(work: Path, calls: str, step: str) -> None:
    code = (
        "import dataclasses, json; from pathlib import Path; "
        "from hala_hpc.doctor.folders import probe_folder; "
        f"finding = probe_folder('work', 'work', Path({str(work)!r}), True); "
        "print(json.dumps(dataclasses.asdict(finding)))"
    )
    strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={calls}:error=EPERM"]
    done = subprocess.run(
        [*strace, sys.executable, "-B", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_S,
    )
    finding = json.loads(done.stdout)
    assert finding["state"] == "error"
    assert_message(finding["what"], f"a file cannot be {step}")
    assert list(work.iterdir()) == []


def test_a_clock_that_differs_is_reported_with_the_difference() -> None:
    assert timed("work", 0.01, 0.2).state == "good"
    assert timed("work", 9.0, 0.0).state == "warn"
    late = timed("work", 0.01, -30.0)
    assert late.state == "warn"
    assert_message(late.what, "30 s behind")
    assert timed("work", 0.01, 600.0).state == "error"


def test_an_environment_that_is_absent_or_broken_is_bad(work: Path, rows: str) -> None:
    broken = work / "python"
    broken.symlink_to(shutil.which("false") or "/bin/false")
    for path, reason in (("/nowhere/python", "does not exist"), (str(broken), "exit code 1")):
        site = launcher(work, f'backend = "local"\n[python]\nmain = "{path}"')
        result = doctor(site, f"work={work}", rows, "format=json")
        assert result.code == 78
        assert_message(of(found(result), "environments"), reason)
        assert_message(of(found(result), "environments"), "make env")


def test_models_that_are_absent_or_not_whole_are_bad_and_whole_ones_are_good(
    work: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "hub" / "models--lab--model"
    arguments = recipe(tmp_path, TRANSLATE.format(model="lab/model", corpus="lab/corpus"))
    site = launcher(tmp_path, f'backend = "local"\n[environment]\nHF_HOME = "{tmp_path}"')

    def inputs(state: str) -> str:
        result = doctor(site, f"work={work}", arguments, "format=json")
        return of(found(result), "inputs", state)

    assert_message(inputs("error"), "model lab/model: is not in the hub cache")
    assert_message(inputs("error"), f"python -m hala_hpc.fetch {arguments} work={work} {site}")
    # A corpus is a folder, even if its name looks like a hub id.
    assert_message(inputs("error"), "corpus lab/corpus: there is no such folder")
    assert "data set lab/corpus" not in inputs("error")
    shot = cache / "snapshots" / "abc"
    shot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    (shot / "config.json").write_text("{}")
    (shot / "tokenizer.json").write_text("{}")
    (shot / "model.safetensors").symlink_to("../../blobs/gone")
    assert_message(inputs("error"), "model.safetensors is a broken link")
    (cache / "blobs").mkdir()
    header = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    weights = len(header).to_bytes(8, "little") + header
    (cache / "blobs" / "gone").write_bytes(weights + b"12")
    assert_message(inputs("error"), "model.safetensors is cut short")
    (cache / "blobs" / "gone").write_bytes(weights + b"1234")
    assert_message(inputs("good"), "model lab/model: is in")


def test_a_run_that_does_not_fit_on_the_disk_is_bad_with_both_numbers(
    work: Path, tmp_path: Path
) -> None:
    huge = tmp_path / "model"
    huge.mkdir()
    (huge / "config.json").write_text("{}")
    (huge / "tokenizer.json").write_text("{}")
    header = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    weights = huge / "model.safetensors"
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(weights, 8 * 10**12)
    arguments = recipe(tmp_path, f'[small]\nstage = "quantize"\nmodel = "{huge}"\n')
    result = doctor("launcher=local", f"work={work}", arguments, "format=json")
    assert result.code == 78
    assert_message(of(found(result), "folders"), "the run needs about 4000.0 GB")


def test_what_quota_leaves_is_compared_where_there_is_a_quota(work: Path, rows: str) -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    device = {point: name for name, point, *_ in mounts}[mount_of(work)]
    program = work / "bin" / "quota"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{device} 999900* 1000000 1100000 0 5 0 0 0'\nexit 1\n")
    program.chmod(0o755)
    result = doctor(
        "launcher=local",
        f"work={work}",
        "format=json",
        PATH=f"{program.parent}:{os.environ['PATH']}",
    )
    assert_message(of(found(result), "folders"), "quota (user): 0.0 GB")
    assert doctor("launcher=local", f"work={work}", rows, "format=json").code == 0


def mount_of(folder: Path) -> str:
    """The mount point of a folder."""
    return next(str(one) for one in (folder, *folder.parents) if os.path.ismount(one))


def test_without_slurm_it_reports_that_and_checks_the_rest(work: Path, rows: str) -> None:
    empty = work / "bin"
    empty.mkdir()
    result = doctor("launcher=slurm", f"work={work}", rows, "format=json", PATH=str(empty))
    assert result.code == 78
    assert_message(of(found(result), "cluster"), "no `sbatch` on the PATH")
    assert_message(of(found(result), "folders", "good"), "read back work")


def test_it_imports_no_heavy_library(work: Path, rows: str) -> None:
    code = (
        "import sys; from hala_hpc.doctor.__main__ import doctor; "
        f"doctor({[f'work={work}', rows]!r}); "
        "found = [m for m in ('torch', 'transformers', 'vllm', 'pyarrow') if m in sys.modules]; "
        "assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert done.returncode == 0, done.stderr


def test_types_of_gpus_show_whether_fp8_works() -> None:
    result = {
        True: "h100 H200 nvidia_h100_80gb_hbm3 gh200 l40s L4 nvidia_rtx_6000_ada_generation "
        "rtx4090 b200 gb200 h100_1g.10gb nvidia_rtx_pro_6000_blackwell",
        False: "a100 a100-sxm4-80gb nvidia_a100_3g.20gb v100 tesla_v100-sxm2-32gb a40 t4 "
        "rtx_a6000 rtx8000 2080ti rtx3090 A30 quadro_rtx_6000",
        None: "fast tesla gpu 80gb",
    }
    for answer, names in result.items():
        assert {name: has_fp8(name) for name in names.split()} == dict.fromkeys(
            names.split(), answer
        )


def test_times_and_devices_are_read_as_slurm_writes_them() -> None:
    times = {
        "UNLIMITED": None,
        "": None,
        "infinite": None,
        "1-00:00:00": 1440,
        "2-12": 3600,
        "01:30:00": 90,
        "30:00": 30,
        "45": 45,
        "00:00:30": 1,
    }
    assert {text: parsing.parse_minutes(text) for text in times} == times
    assert [parsing.parse_seconds(text) for text in ("00:00:20", "5", "1-00:01:00", "")] == [
        20,
        5,
        86460,
        0,
    ]
    sizes = {"262144": 262144, "256G": 262144, "1T": 1048576, "UNLIMITED": None, "0": 0}
    assert {text: parsing.parse_megabytes(text) for text in sizes} == sizes
    assert parsing.parse_gres_gpus("gpu:h100:8(S:0-1),gpu:a100:2,mps:100") == {"h100": 8, "a100": 2}
    assert parsing.parse_gres_gpus("gpu:4") == {"": 4}
    assert parsing.parse_gres_gpus("(null)") == {}
    assert parsing.parse_tres("cpu=10,mem=1T,gres/gpu:h100=2") == {
        "cpu": 10,
        "mem": 1048576,
        "gres/gpu:h100": 2,
    }
    assert parsing.parse_list("ALL") == ()
    assert parsing.parse_list("a,b") == ("a", "b")
