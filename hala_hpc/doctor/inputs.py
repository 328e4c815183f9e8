"""Whether the models and data of a recipe are on the disk, whole, without asking the network."""

from collections.abc import Iterable
from typing import Literal

from hala_hpc.commands.planning.hub_pieces import pieces_of
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import UserError
from hala_hpc.core.hub import is_hub_off
from hala_hpc.core.hub_piece import HubSite, Piece
from hala_hpc.doctor.findings import Finding

WHY_OFFLINE = "compute nodes work offline: the jobs that need it would fail after their wait"
WHY_ONLINE = "jobs fetch it themselves (HF_HUB_OFFLINE=0), each of them, while their GPUs wait"
WHY_FAIL, SEE = "the node would fail", "see the text"


def input_findings(steps: Iterable[Step], site: HubSite, fetch: str) -> list[Finding]:
    """What the missing nodes of a plan take from the hub and from the disk.

    `fetch` is the line that fetches what is missing.
    """
    missing = [step for step in steps if step.state != "done"]
    offline = is_hub_off(site.environment, default=True)
    state: Literal["bad", "warn"] = "bad" if offline else "warn"
    try:
        pieces = pieces_of(missing, site)
    except UserError as error:
        pieces = []
        found = [Finding("inputs", "bad", told, WHY_FAIL, SEE) for told in error.mistakes]
    else:
        found = [finding(piece, state, fetch) for piece in pieces]
    return found + [one for step in missing for one in own_words(step)]


def finding(piece: Piece, state: Literal["bad", "warn"], fetch: str) -> Finding:
    """Whether a model, a data set or what else is read from the hub is here, whole."""
    if piece.problems:
        why = WHY_OFFLINE if state == "bad" else WHY_ONLINE
        return Finding("inputs", state, piece.told, why, fetch)
    return Finding("inputs", "good", piece.told, "no network is needed")


def own_words(step: Step) -> list[Finding]:
    """What a stage has against its settings and its local files."""
    try:
        texts = step.stage().preflight()
    except UserError as error:
        texts = error.mistakes
    return [Finding("inputs", "bad", f"{step.name}: {text}", WHY_FAIL, SEE) for text in texts]
