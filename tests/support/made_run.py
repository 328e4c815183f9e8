"""Write a work folder as jobs leave it: records and results of nodes, with contents of a test."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plain_out import PlainContext, PlainInputs

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.job_records import AttemptRecord
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import (
    InputFacts,
    NodeConfig,
    NodeSummary,
    Round,
    RoundSpec,
    RunNodeRecord,
    RunRecord,
)
from hala_hpc.core.resources import Resources
from hala_hpc.core.run import run_file
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.evaluation.score_files import (
    ModelScores,
    TranslatedSentence,
    score_name,
    write_translations,
)


@dataclass
class MadeRun:
    """A work folder and the nodes in it, in their order."""

    work: Path
    nodes: list[tuple[str, str]] = field(default_factory=list)
    """Name and stage."""

    def add(
        self,
        name: str,
        stage: str,
        details: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        inputs: tuple[str, ...] = (),
        **counts: Any,
    ) -> Artifact:
        """Write a finished node; `counts` are further fields of its summary."""
        artifact = self.add_unfinished(name, stage, settings, inputs)
        artifact.output.mkdir(exist_ok=True)
        summary = NodeSummary(
            node=name,
            stage=stage,
            fingerprint=fingerprint(len(self.nodes) - 1),
            details=details or {},
            **{"rows_in": 0, "rows_out": 0, "rows_rejected": 0, "units": 1, **counts},
        )
        summary.write(artifact.summary_file)
        return artifact

    def add_unfinished(
        self,
        name: str,
        stage: str,
        settings: dict[str, Any] | None = None,
        inputs: tuple[str, ...] = (),
    ) -> Artifact:
        """Write a node without a result."""
        number = len(self.nodes)
        self.nodes.append((name, stage))
        artifact = Artifact(self.folder(number))
        artifact.folder.mkdir(parents=True)
        known = [one for one, _ in self.nodes]
        NodeConfig(
            node=name,
            stage=stage,
            fingerprint=fingerprint(number),
            units=1,
            settings=settings or {},
            inputs={
                one: InputFacts(
                    kind="model",
                    fingerprint=fingerprint(known.index(one)),
                    artifact=self.folder(known.index(one)).name,
                )
                for one in inputs
            },
            gpu_hours_estimate=3.0,
        ).write(artifact.config_file)
        return artifact

    def folder(self, number: int) -> Path:
        """Folder of a node; hostile names are in records only."""
        return self.work / f"node{number}-{fingerprint(number)}"

    def use_gpus(self, artifact: Artifact, hours: float, gpus: int = 2) -> None:
        """Record an attempt of jobs with GPUs."""
        spec = RoundSpec(
            launcher=Launcher(name="site", backend="slurm"),
            env="main",
            settings={},
            resources=Resources(gpus_per_node=gpus),
        )
        Round(
            round=1, key="key", assignment=((0,),), progress_before=(), began=0.0, spec=spec
        ).write(artifact.round_file(1))
        AttemptRecord(worker=0, code=0, seconds=hours * 3600).write(
            artifact.attempt_file("r0001-w00000-1_0-0")
        )

    def finish(self) -> None:
        """Write the record of the launch."""
        RunRecord(
            overrides={"stage": "all", "recipe": "mine.toml"},
            recipe="mine.toml",
            nodes=tuple(
                RunNodeRecord(name=name, stage=stage, units=1, artifact=self.folder(n).name)
                for n, (name, stage) in enumerate(self.nodes)
            ),
        ).write(run_file(self.work))

    def make_report(self, folder: Path, **settings: Any) -> Path:
        """Run the stage `report` over all nodes; its folder."""
        from hala_hpc.stages.report import STAGE

        references = [f"@node{number}" for number in range(len(self.nodes))]
        summaries = {}
        for number, reference in enumerate(references):
            summary = NodeSummary.read(self.folder(number) / "summary.json")
            assert summary is not None
            summaries[reference] = summary
        paths = {r: str(self.folder(n) / "output") for n, r in enumerate(references)}
        title = settings.pop("title", "A run") + " " + " ".join(r[1:] for r in references)
        stage = STAGE(
            STAGE.Settings(nodes=references, title=title, **settings),
            PlainInputs(paths, summaries),
        )
        out = PlainContext(folder, stage)
        stage.run([0], out)
        return out.folder(0)


def fingerprint(number: int) -> str:
    """A fingerprint as those of nodes."""
    return f"{number:012x}"


def write_translation_scores(
    output: Path, labels: list[str], sentences: dict[str, list[TranslatedSentence]]
) -> None:
    """Write the files of an evaluation of translations, a unit for each model."""
    for unit, label in enumerate(labels):
        ModelScores(label=label, scores={"bleu": 1.0}).write(output / score_name(unit))
        write_translations(output, unit, sentences[label])


def write_rejected_lines(output: Path, rows: list[tuple[str, str]]) -> None:
    """Write `rejected-00000.jsonl` with a reason and a text for each row."""
    lines = [
        json.dumps({"where": "f", "line": n, "reason": reason, "row": text})
        for n, (reason, text) in enumerate(rows, 1)
    ]
    (output / "rejected-00000.jsonl").write_text("\n".join(lines) + "\n")


def write_pairs(path: Path, pairs: list[tuple[str, str]], **extra: str) -> None:
    """Write a shard of pairs; `extra` are columns that have the same text in every row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with CorpusWriter(path, "pairs", dict.fromkeys(extra, "string")) as writer:
        for number, (source, target) in enumerate(pairs):
            row = {"id": f"{number:032x}", "origin": "test", "source": source, "target": target}
            writer.add({**row, **extra})
