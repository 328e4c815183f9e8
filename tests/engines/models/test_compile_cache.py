"""Compiled code is built once, copied to each job, and never written by two."""

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import untrained_model

from benchmarks.common.waiting import WAIT_S
from hala_hpc.engines.models.compile_cache import (
    CompileCache,
    remove_abandoned,
    seed_file,
    torch_facts,
)

FACTS: dict[str, Any] = {"versions": ["0.32.0"], "gpus": ["NVIDIA H100"]}
#: Starts an engine that compiles; prints the cache log line and the answer.
START = """
import sys
from pathlib import Path
from hala_hpc.engines.generation.vllm.startup import start_engine
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.jobs.job_logging import set_up_logging
set_up_logging()
sizes = dict(max_num_seqs=4, max_model_len=256, cpu_cache_gb=0.1)
settings = EngineSettings(dtype="float32", enforce_eager=False, **sizes)
llm = start_engine(sys.argv[1], settings, Path(sys.argv[2]))
from vllm import SamplingParams
params = SamplingParams(temperature=0, max_tokens=8, detokenize=False)
print("answer", llm.generate([{"prompt_token_ids": [5, 6, 7]}], params)[0].outputs[0].token_ids)
"""


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the node's own."""
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextlib.contextmanager
def job(seed: Path | None, compiles: str = "") -> Iterator[CompileCache]:
    """Run a job with its cache that compiles one file unless the seed has it."""
    cache = CompileCache(seed)
    try:
        if compiles:
            (cache.folder / "torch_compile_cache").mkdir(exist_ok=True)
            (cache.folder / "torch_compile_cache" / "lock.lock").touch()
            (cache.folder / "torch_compile_cache" / compiles).write_text(compiles)
        yield cache
        cache.publish()
    finally:
        cache.remove()


def test_what_one_job_compiled_is_there_in_the_next(tmp_path: Path) -> None:
    seed = seed_file(tmp_path / "work" / "cache", FACTS)
    with job(seed, "kernel.so") as first:
        assert first.unpacked == set()
    with job(seed) as second:
        assert second.unpacked == {"torch_compile_cache/kernel.so"}
        assert not list(second.folder.rglob("lock.lock"))
        assert second.folder != first.folder
    assert [path.name for path in seed.parent.iterdir()] == [seed.name]


def test_libraries_are_led_to_the_folder_while_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "mine")
    monkeypatch.delenv("VLLM_CACHE_ROOT", raising=False)
    with job(None) as cache:
        assert os.environ["VLLM_CACHE_ROOT"] == f"{cache.folder}"
        assert Path(os.environ["TRITON_CACHE_DIR"]).parent == cache.folder
        assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert not cache.folder.exists()
    assert os.environ["TRITON_CACHE_DIR"] == "mine"
    assert "VLLM_CACHE_ROOT" not in os.environ


def test_a_seed_is_never_overwritten(tmp_path: Path) -> None:
    seed = seed_file(tmp_path, FACTS)
    with job(seed, "first.so"):
        pass
    before = seed.read_bytes(), seed.stat().st_ino
    with job(seed, "second.so"):
        pass
    assert (seed.read_bytes(), seed.stat().st_ino) == before


def test_of_jobs_that_begin_together_the_first_leaves_the_seed(tmp_path: Path) -> None:
    seed = seed_file(tmp_path / "cache", FACTS)
    caches = [CompileCache(seed) for _ in range(8)]
    for number, cache in enumerate(caches):
        (cache.folder / f"{number}.so").write_text(str(number))
    threads = [threading.Thread(target=cache.publish) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with job(seed) as late:
        assert len(late.unpacked) == 1
    assert [path.name for path in seed.parent.iterdir()] == [seed.name]


def test_an_engine_that_compiled_nothing_leaves_no_seed(tmp_path: Path) -> None:
    seed = seed_file(tmp_path / "cache", FACTS)
    with job(seed):
        pass
    assert not seed.parent.exists()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_seed_is_put_aside_and_the_job_starts_cold(tmp_path: Path, damage: str) -> None:
    seed = seed_file(tmp_path / "cache", FACTS)
    with job(seed, "kernel.so") as cache:
        (cache.folder / "data.so").write_bytes(os.urandom(100_000))
    whole = seed.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    content = {"cut": whole[:middle], "flip": flipped, "empty": b"", "text": b"no archive"}
    seed.write_bytes(content[damage])
    with job(seed, "again.so") as cold:
        assert cold.unpacked == set()
        assert [path.name for path in cold.folder.rglob("*.so")] == ["again.so"]
    with job(seed) as warm:
        assert warm.unpacked == {"torch_compile_cache/again.so"}
    assert len(list(seed.parent.glob("*.bad-*"))) == 1


def test_a_seed_that_others_can_write_is_not_run(tmp_path: Path) -> None:
    seed = seed_file(tmp_path / "cache", FACTS)
    with job(seed, "kernel.so"):
        pass
    assert seed.stat().st_mode & 0o777 == 0o600
    seed.chmod(0o620)
    with job(seed) as cache:
        assert cache.unpacked == set()
    assert seed.exists()


def test_a_full_disk_costs_the_seed_and_not_the_job(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with job(seed_file(tmp_path / "cache", FACTS), "kernel.so"):
        pass


def test_another_configuration_has_another_seed(tmp_path: Path) -> None:
    seed = seed_file(tmp_path, FACTS)
    assert seed == seed_file(tmp_path, dict(reversed(FACTS.items())))
    assert seed != seed_file(tmp_path, FACTS | {"versions": ["0.33.0"]})
    assert seed != seed_file(tmp_path, FACTS | {"options": {"max_num_seqs": 4}})


def test_folders_of_killed_jobs_are_removed_and_those_of_living_ones_are_not(node: Path) -> None:
    long_ago = time.time() - 3600
    dead = node / "hala-compiled-dead"
    dead.mkdir()
    (dead / "in-use.lock").touch()
    young = node / "hala-compiled-young"
    young.mkdir()
    (young / "in-use.lock").touch()
    with job(None) as living:
        os.utime(living.folder, (long_ago, long_ago))
        os.utime(dead, (long_ago, long_ago))
        with (living.folder / "in-use.lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_abandoned()
        assert sorted(node.iterdir()) == sorted([living.folder, young])


def test_code_for_another_program_or_model_has_another_seed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    facts = torch_facts("training", [tmp_path])
    assert seed_file(tmp_path, facts) == seed_file(tmp_path, torch_facts("training", [tmp_path]))
    assert facts != torch_facts("benchmarks", [tmp_path])
    (tmp_path / "config.json").write_text('{"hidden_size": 8}')
    assert facts != torch_facts("training", [tmp_path])


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_second_engine_compiles_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, node: Path
) -> None:
    model = untrained_model(tmp_path_factory.getbasetemp())
    counts, answers = [], []
    for _ in range(2):
        command = [sys.executable, "-c", START, str(model), str(tmp_path / "cache")]
        environment = os.environ | {"TMPDIR": str(node)}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            cwd=tmp_path,
            timeout=WAIT_S,
        )
        counts.append(re.findall(r"compile cache: (\d+) files from .*, (\d+) new", done.stderr)[0])
        answers.append(re.findall(r"answer (.*)", done.stdout)[0])
    (cold_before, cold_new), (warm_before, warm_new) = counts
    assert (cold_before, warm_new) == ("0", "0")
    assert int(warm_before) == int(cold_new) > 0
    assert answers[0] == answers[1]
    assert not list(node.glob("hala-compiled-*"))
