"""The steps of a merge: weights in a pass that a sweep may share, files beside them, a trial."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.files import read_json, write_json
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.models.files import carry_config, copy_tokenizer
from hala_hpc.engines.models.merging.checkpoint_reader import find_main_dtype
from hala_hpc.engines.models.merging.merge_card import write_merge_card
from hala_hpc.engines.models.merging.merge_pass import (
    MergeTarget,
    Parents,
    PassFigures,
    merge_models,
)
from hala_hpc.engines.models.merging.merge_record import MERGE_FILE, MergeRecord
from hala_hpc.engines.models.merging.methods import MethodSettings
from hala_hpc.engines.models.merging.settings import MergeSettings
from hala_hpc.engines.models.merging.shared_pass import SharedPass
from hala_hpc.engines.models.merging.trial import HeldOutRows, try_in_transformers, try_in_vllm

logger = logging.getLogger(__name__)


class MergeJob:
    """One merge in the folder of a unit."""

    def __init__(
        self, settings: MergeSettings, parents: Parents, held_out: str, out: UnitContext, unit: int
    ) -> None:
        self.settings, self.parents, self.out = settings, parents, out
        self.held_out = held_out
        """Folder of the held-out rows; empty without any."""
        self.folder = out.folder(unit)
        parameters = settings.parameters(len(parents.models))
        self.target = MergeTarget(self.folder, parameters, self.dtype())

    def dtype(self, wanted: str = "") -> str:
        """Type of the merged weights, by torch's name."""
        wanted = wanted or self.settings.dtype
        return find_main_dtype(self.parents.base) if wanted == "auto" else wanted

    def make_weights(self) -> bool:
        """Make the weights or take those of another job; return False on a stop request."""
        others = self.other_targets()
        if not others:
            self.run_pass([self.target], lambda: None)
            return True
        shared = SharedPass(self.out.cache, self.parents)
        while not shared.take(self.target, self.folder):
            if self.out.stop_requested:
                return False
            if shared.was_made(self.target):
                # Taken by an attempt that ended before it had finished.
                self.run_pass([self.target], lambda: None)
                return True
            if shared.begin():
                self.run_shared_pass(shared, others)
                return True
            shared.wait(self.target, lambda: self.out.stop_requested)
        return True

    def other_targets(self) -> list[MergeTarget]:
        """Return the other models of a sweep with the same parents; their folders are not set."""
        found = []
        for values in self.settings.beside:
            if [values["base"], values["model"]] != [self.settings.base, self.settings.model]:
                continue
            names = MethodSettings.model_fields.keys() & values.keys()
            other = MethodSettings.model_validate({name: values[name] for name in names})
            parameters = other.parameters(len(self.parents.models))
            found.append(MergeTarget(self.folder, parameters, self.dtype(values["dtype"])))
        return [one for one in found if one[1:] != self.target[1:]]

    def run_shared_pass(self, shared: SharedPass, others: list[MergeTarget]) -> None:
        """Make this model, and those of the sweep that no job has made, in one pass."""
        attempt = self.out.attempt
        try:
            missing = [
                other._replace(folder=shared.staging(attempt, other))
                for other in others
                if not shared.was_made(other)
            ]
            self.run_pass([self.target, *missing], shared.beat)
            for other in missing:
                shared.publish(other.folder, other)
            shared.model_folder(self.target).with_suffix(".made").touch()
        finally:
            shared.clean(attempt)
            shared.end()

    def run_pass(self, targets: list[MergeTarget], heartbeat: Callable[[], None]) -> None:
        """Write weights and record of all targets."""
        logger.info(
            "merging %d models, %d results in one pass", 1 + len(self.parents.models), len(targets)
        )
        figures = merge_models(self.parents, targets, heartbeat)
        for target in targets:
            self.record_of(target, figures, len(targets)).write(target.folder / MERGE_FILE)

    def record_of(self, target: MergeTarget, figures: PassFigures, number: int) -> MergeRecord:
        """Return the record of a pass for a target."""
        changes = figures.changes(target.parameters.method)
        return MergeRecord(
            method=target.parameters.method,
            parameters=target.parameters.describe(),
            base=self.settings.base,
            models=tuple(self.settings.model),
            dtype=target.dtype,
            weights=changes[-1].weights,
            tensors=changes[-1].tensors,
            changes=changes,
            bytes_read=figures.bytes_read,
            merged_in_pass=number,
        )

    def finish(self) -> None:
        """Add config, tokenizer and card; try the model and record the result."""
        first = self.parents.models[0]
        of_the_weights = {"dtype": self.target.dtype}
        config: Mapping[str, Any] = read_json(first / "config.json")
        if version := config.get("transformers_version"):
            of_the_weights["transformers_version"] = version
        write_json(self.folder / "config.json", of_the_weights)
        carry_config(first, self.folder)
        copy_tokenizer(first, self.folder)
        record = MergeRecord.read(self.folder / MERGE_FILE)
        if record is None:
            raise UserError(f"{self.folder}: {MERGE_FILE} is missing", INTERNAL)
        record = self.tried(record)
        record.write(self.folder / MERGE_FILE)
        write_merge_card(self.folder, record, self.parents.base)

    def tried(self, record: MergeRecord) -> MergeRecord:
        """Return the record with the trial of the model in the libraries that load it."""
        settings, trial = self.settings, record.trial
        if "transformers" in settings.try_with:
            rows = HeldOutRows(self.held_out, settings.held_out_rows) if self.held_out else None
            parents = {settings.base: self.parents.base}
            parents |= dict(zip(settings.model, self.parents.models, strict=True))
            trial = try_in_transformers(self.folder, parents, rows)
        if "vllm" in settings.try_with:
            answer = try_in_vllm(self.folder, self.out)
            trial = trial.model_copy(
                update={
                    "loaded_in": (*trial.loaded_in, "vllm"),
                    "answer": trial.answer or answer,
                }
            )
        return record.model_copy(update={"trial": trial})
