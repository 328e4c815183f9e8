"""A translation node of a small corpus, whose workers and gate are processes that can be killed."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.environment import JOB_ENVIRONMENT
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.jobs.spec import make_spec

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = ROOT / "tests" / "standin"
#: Values of `engine.name`, with that folder on PYTHONPATH: the stand-in; vLLM that notes answers.
STAND_IN_ENGINE, NOTING_VLLM = "job_engines:standin", "job_engines:vllm"
#: The stand-in with a fault, here one that breaks the structure of answers.
BREAKING_ENGINE = "planted_engine:PlantedEngine"
#: The stand-in has an empty answer for texts that contain this: their rows are rejected.
NOTHING = "speechless"
#: One row in so many is rejected.
REJECTED_EVERY = 25
#: Answers that such a row may have had when it is lost: it is generated several times.
LOST_WITH_REJECTED = 4
#: Answers about a row of `long_texts`: the text, its paragraphs and its lines.
ANSWERS_OF_LONG_TEXT = 1 + 3 + 6
#: Maximum rows that are read ahead of the engine.
READ_AHEAD = 128
#: Checks that answers of a tiny model do not pass.
DISABLED_CHECKS = ["copied", "wrong_language", "script", "repetition", "glossary", "length_ratio"]
#: Vocabulary of the texts.
TALE = "the boy reads a book near river while his sister eats fresh bread from old school"


@dataclass(frozen=True)
class Shape:
    """Amount of work, and its speed."""

    rows: int = 600
    units: int = 8
    max_num_seqs: int = 4
    step_s: float = 0.01
    """Minimum seconds of an engine step of the stand-in."""
    commit_interval_s: float = 0.05
    is_mixed: bool = False
    """Whether the texts have several paragraphs, and the engine breaks the structure of answers: in
    one run it is asked for texts, paragraphs and lines."""

    @property
    def redone_bound(self) -> int:
        """Maximum of answers that a kill may lose.

        Those since the last commit: a step takes at least `step_s` and gives at most
        `max_num_seqs`, and a commit follows the first step that ends `commit_interval_s` after the
        last one. Then one more step for the time of a commit, and the answers of unfinished rows
        that are generated more than once.
        """
        steps = ceil(self.commit_interval_s / self.step_s) + 1
        return steps * self.max_num_seqs + self.in_flight_answers

    @property
    def in_flight_answers(self) -> int:
        """Answers of unfinished rows that are generated more than once."""
        rows = READ_AHEAD + 2 * self.max_num_seqs
        if self.is_mixed:
            return rows * ANSWERS_OF_LONG_TEXT
        return ceil(rows / REJECTED_EVERY) * LOST_WITH_REJECTED

    @property
    def seconds(self) -> float:
        """Minimum seconds of one worker for all rows."""
        return self.rows / self.max_num_seqs * self.step_s


class KillNode:
    """The node, and a new artifact of it for each run.

    `model` is the folder of a real model, and `known` has texts that it was trained on; without
    them the stand-in answers.
    """

    def __init__(
        self, base: Path, shape: Shape, model: Path | None = None, known: Sequence[str] = ()
    ) -> None:
        self.base, self.shape, self.model = base, shape, model
        self.corpus, self.log = base / "corpus", base / "asked.log"
        self.variables: dict[str, str] = {}
        """More environment variables of later jobs."""
        made = long_texts(shape.rows) if shape.is_mixed else texts(shape.rows)
        write_corpus(self.corpus, known or made)
        self.overrides = self.make_overrides()
        command_line = parse_command_line(self.overrides)
        self.step = make_plan(command_line.nodes, command_line.work, command_line.environment)[
            "translate"
        ]
        self.spec = make_spec(
            command_line.launcher, self.step.node.settings, "main", LaunchedCode()
        )

    def make_overrides(self) -> list[str]:
        """Return the overrides that a user would write."""
        recipe = self.base / "recipe.toml"
        # Answers of a tiny model are no translations.
        lenient = f"retries = 0\nchecks.disabled = {DISABLED_CHECKS}\n" if self.model else ""
        recipe.write_text(
            f'[translate]\ncorpus = "{self.corpus}"\nunits = {self.shape.units}\n{lenient}'
        )
        model = self.model or empty_model(self.base / "model")
        return [
            "stage=translate",
            "launcher=local",
            f"recipe={recipe}",
            f"work={self.base / 'work'}",
            f"translate.model={model}",
            f"translate.commit_interval_s={self.shape.commit_interval_s}",
            f"translate.engine.max_num_seqs={self.shape.max_num_seqs}",
            "translate.max_rejected_fraction=1",
            f"translate.engine.name={self.engine_name}",
            "translate.engine.dtype=float32",
            "translate.engine.cpu_cache_gb=0.1",
        ]

    @property
    def engine_name(self) -> str:
        """Value of `engine.name`."""
        if self.model:
            return NOTING_VLLM
        return BREAKING_ENGINE if self.shape.is_mixed else STAND_IN_ENGINE

    def fresh(self, name: str, workers: int = 1) -> Artifact:
        """Return a new artifact in its first round, with an empty log of answers."""
        self.log.unlink(missing_ok=True)
        artifact = Artifact(self.base / "work" / f"{name}-{self.step.fingerprint}")
        artifact.write_config(self.step.config())
        self.begin_round(artifact, workers)
        return artifact

    def begin_round(self, artifact: Artifact, workers: int) -> int:
        """Start a round of the missing units, as a launch or a gate does; return its workers."""
        return begin_round(artifact, self.shape.units, workers, self.spec).workers

    def start(
        self, module: str, *arguments: object, prefix: Sequence[str] = (), **env: str
    ) -> "subprocess.Popen[bytes]":
        """Start `python -m hala_hpc.<module>` of a job."""
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", f"hala_hpc.{module}", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment() | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start_worker(
        self, artifact: Artifact, worker: int, prefix: Sequence[str] = ()
    ) -> "subprocess.Popen[bytes]":
        """Start a worker of an artifact."""
        return self.start("worker", artifact.folder, worker, prefix=prefix)

    def environment(self) -> dict[str, str]:
        """Return the environment of a job, with the file in which its engine records answers."""
        variables = with_bytecode()
        path = os.pathsep.join(
            filter(None, [variables.get("PYTHONPATH"), str(STAND_IN), str(ROOT)])
        )
        engine = {"HALA_ENGINE_LOG": str(self.log), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        if self.model is None:
            engine = {
                "HALA_STANDIN_LOG": str(self.log),
                "HALA_STANDIN_STEP_S": str(self.shape.step_s),
            }
        if self.shape.is_mixed:
            engine["HALA_PLANTED"] = "structure"
        return {
            **variables,
            **JOB_ENVIRONMENT,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": path,
            **engine,
        } | self.variables


def with_bytecode() -> dict[str, str]:
    """Return the environment, in which Python may write its bytecode: jobs start twice as fast."""
    return {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def texts(count: int) -> list[str]:
    """Return texts, all different; some have no translation."""
    made, tale = [], TALE.split()
    for number in range(count):
        words = [tale[(number * 7 + place * place) % len(tale)] for place in range(number % 17)]
        if number % REJECTED_EVERY == 1:
            words.append(NOTHING)
        made.append(" ".join(["page", str(number), *words, "is here"]))
    return made


def long_texts(count: int) -> list[str]:
    """Return texts of a paragraph and two lists, in all of which no line occurs twice."""
    tale = TALE.split()
    made = []
    for number, opening in enumerate(texts(count)):
        items = [
            f"- {tale[(number + part) % len(tale)]} {tale[number * part % len(tale)]} in part "
            f"{part} of page {number}"
            for part in (2, 3, 4)
        ]
        steps = [f"{part}. read line {part + 4} of page {number} again" for part in (1, 2)]
        made.append("\n\n".join([opening, "\n".join(items), "\n".join(steps)]))
    return made


def write_corpus(folder: Path, sources: Sequence[str]) -> None:
    """Write pairs without targets, a few hundred for each shard."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = [
        {"id": f"{number:032x}", "origin": "made", "source": text, "target": ""}
        for number, text in enumerate(sources)
    ]
    for part, first in enumerate(range(0, len(rows), 250)):
        table = pa.Table.from_pylist(rows[first : first + 250])
        pq.write_table(table, folder / f"part-{part:05d}.parquet", row_group_size=100)


def empty_model(folder: Path) -> Path:
    """Write a folder that looks like a model unless it is loaded."""
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    header = json.dumps({}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder
