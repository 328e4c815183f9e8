"""Repository, revision and build of a kernel that jobs load, as transformers and kernels do."""

import ast
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hala_hpc.commands.planning.hub_dependencies import hub_references
from hala_hpc.core.errors import UserError
from hala_hpc.core.stage import UnknownInputs
from hala_hpc.core.stage_registry import find_stage
from hala_hpc.engines.models.kernels import (
    PACKAGED,
    VERSIONS,
    attention_kernels,
    kernel_reference,
    library_fault,
    needed_files,
)

MACHINE = os.uname().machine
#: All builds of a made kernel, by name.
BUILDS = (
    f"torch213-cxx11-cu128-{MACHINE}-linux",
    f"torch213-cxx11-cu130-{MACHINE}-linux",
    f"torch213-cxx11-cu132-{MACHINE}-linux",
    f"torch212-cxx11-cu130-{MACHINE}-linux",
    "torch213-cxx11-cu130-riscv-linux",
    f"torch213-cxx11-cpu-{MACHINE}-linux",
    f"torch213-cxx11-rocm71-{MACHINE}-linux",
    f"torch213-cxx98-cu130-{MACHINE}-linux",
    f"tvm-ffi01-cu130-{MACHINE}-linux",
    "torch-cuda",
    "torch-universal",
)
STABLE = f"torch-stable-abi210-cu128-{MACHINE}-linux"


def environment(folder: Path, version: str, cuda: str | None) -> str:
    """The interpreter of an environment with a torch, as far as its files are looked at."""
    packages = folder / "lib" / "python3.11" / "site-packages"
    (packages / "torch").mkdir(parents=True)
    lines = [f"__version__ = {version!r}", f"cuda: Optional[str] = {cuda!r}"]
    (packages / "torch" / "version.py").write_text("\n".join(lines) + "\n")
    return str(folder / "bin" / "python")


def files_of(*builds: str) -> list[str]:
    """Paths of the files of a kernel with these builds."""
    inside = ("__init__.py", "ops.so", "layers/a.py", "__pycache__/a.pyc", "metadata.json")
    return ["README.md", *(f"build/{build}/{path}" for build in builds for path in inside)]


@pytest.mark.parametrize(
    ("cuda", "there", "taken"),
    [
        ("13.0", BUILDS, f"torch213-cxx11-cu130-{MACHINE}-linux"),
        ("13.0", (*BUILDS, STABLE), f"torch213-cxx11-cu130-{MACHINE}-linux"),
        ("12.9", BUILDS, f"torch213-cxx11-cu128-{MACHINE}-linux"),
        ("12.9", (*BUILDS, STABLE), STABLE),
        ("13.0", ("torch-cuda", "torch-universal"), "torch-cuda"),
        (None, BUILDS, f"torch213-cxx11-cpu-{MACHINE}-linux"),
        (None, ("torch-cuda", "torch-universal"), "torch-universal"),
    ],
)
def test_the_build_for_the_torch_of_the_environment_is_taken(
    cuda: str | None, there: tuple[str, ...], taken: str, tmp_path: Path
) -> None:
    python = environment(tmp_path, "2.13.0", cuda)
    inside = ("__init__.py", "layers/a.py", "metadata.json", "ops.so")
    assert needed_files(files_of(*there), python) == [f"build/{taken}/{name}" for name in inside]


def test_a_kernel_without_a_build_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    python = environment(tmp_path, "2.13.0+cu130", "13.0")
    with pytest.raises(UserError, match=r"torch 2\.13\.0.*it has torch212-cxx11-cu130"):
        needed_files(files_of(f"torch212-cxx11-cu130-{MACHINE}-linux"), python)
    with pytest.raises(UserError, match="it has none"):
        needed_files(["README.md", "model.safetensors"], python)


def test_all_builds_count_where_the_torch_is_not_known(tmp_path: Path) -> None:
    found = needed_files(files_of("torch-cuda", "torch-universal"), str(tmp_path / "bin/python"))
    assert {name.split("/")[1] for name in found} == {"torch-cuda", "torch-universal"}
    assert not any("__pycache__" in name for name in found)


def test_the_revision_is_that_of_transformers() -> None:
    assert kernel_reference("kernels-community/flash-attn2") == "kernels-community/flash-attn2@v3"
    assert kernel_reference("lab/attention:forward") == "lab/attention@v1"
    assert kernel_reference("lab/attention@main:forward") == "lab/attention@main"
    assert theirs("FLASH_ATTN_KERNEL_VERSIONS") == VERSIONS
    fallbacks = theirs("FLASH_ATTN_KERNEL_FALLBACK")
    assert {name: fallbacks[name] for name in PACKAGED} == {
        name: packaged.kernel for name, packaged in PACKAGED.items()
    }


def theirs(name: str) -> Any:
    """A table of transformers, without importing it; of a choice what is taken for CUDA."""
    spec = find_spec("transformers")
    assert spec
    assert spec.origin
    source = Path(spec.origin).with_name("modeling_flash_attention_utils.py").read_text()
    [table] = [
        line.value
        for line in ast.parse(source).body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == name
    ]
    assert isinstance(table, ast.Dict)
    values = [one.orelse if isinstance(one, ast.IfExp) else one for one in table.values]
    return {
        ast.literal_eval(key): ast.literal_eval(value)
        for key, value in zip(table.keys, values, strict=True)
        if key
    }


def test_a_package_that_is_installed_is_not_fetched(tmp_path: Path) -> None:
    python = environment(tmp_path, "2.13.0", "13.0")
    assert attention_kernels("sdpa", python) == attention_kernels("auto", python) == []
    assert attention_kernels("lab/attention@v2", python) == ["lab/attention@v2"]
    assert attention_kernels("flash_attention_2", python) == ["kernels-community/flash-attn2"]
    (tmp_path / "lib/python3.11/site-packages/flash_attn").mkdir()
    assert attention_kernels("flash_attention_2", python) == []


def test_an_environment_that_cannot_load_kernels_is_reported_with_the_install_command(
    tmp_path: Path,
) -> None:
    python = environment(tmp_path, "2.13.0", "13.0")
    fault = library_fault(python)
    assert f"{tmp_path}/bin/uv pip install --python {python} 'transformers[kernels]'" in fault
    (tmp_path / "lib/python3.11/site-packages/kernels").mkdir()
    assert library_fault(python) == ""


def test_a_training_and_a_benchmark_load_the_kernel_that_their_attention_names() -> None:
    """So that fetch brings it and a dry run misses it."""
    kernel = "kernels-community/flash-attn2"
    nodes = {
        "sft": {"model": "lab/base", "tokens": "@tokens", "attention": kernel},
        "evaluate": {"models": {"base": "lab/base"}, "tasks": ["task"], "attention": kernel},
    }
    expected = {("models", "lab/base"), ("kernels", f"{kernel}@v3")}
    for name, settings in nodes.items():
        stage = find_stage(name)
        asked = stage(stage.Settings.model_validate(settings), UnknownInputs())
        assert hub_references(asked, sys.executable) == expected
