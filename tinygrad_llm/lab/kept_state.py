"""Where a lab that trained a run was when it ended, in the run's folder: RUN/lab/, beside the run and not in it.

    RUN/lab/step-00000600/                          the checkpoint that the lab began from
      step-00000650/
        model.safetensors, optimizer.safetensors    as in a checkpoint
        lab.json                                    branches with their edits and records, and the address fragment

The run itself stays as it is; a lab on the same checkpoint goes on from there.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from tinygrad_llm.errors import CheckpointError, TinygradLLMError
from tinygrad_llm.formats import (
    dump_safetensors,
    json_bytes,
    newest_whole_snapshot,
    prune_snapshots,
    read_json,
    read_safetensors,
    write_snapshot,
)
from tinygrad_llm.lab.edits import edits_of, text_of
from tinygrad_llm.lab.packing import finite
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.snapshots import Snapshot
from tinygrad_llm.lab.timeline import Branch
from tinygrad_llm.runs.checkpoint_files import OPTIMIZER, WEIGHTS, for_json, rejoin_arrays, separate_arrays
from tinygrad_llm.runs.checkpoints import checkpoint_name

MOST_RECORDS = 20_000  # of each branch
FOLDER, STATE = "lab", "lab.json"


def keep_state(session: Session, run: Path, checkpoint: Path, seconds: float) -> Path | None:
    """Write where the training is, unless it stands where the run does; returns the folder.

    If the owner's thread is in the middle of a step for longer than `seconds`, the last snapshot before it is written.

    Raises: CheckpointError for a folder that cannot be written
    """
    timeline = session.main
    if timeline is None:
        return None
    try:
        snapshot = session.ask(lambda: Snapshot.of(timeline.trainer, timeline.applied), seconds)
    except (TinygradLLMError, TimeoutError):
        held = timeline.ring.nearest(timeline.branch.edits, 1 << 40)
        if held is None:
            return None
        snapshot = held
    if snapshot.step == timeline.first_step and not snapshot.applied:
        return None
    arrays, optimizer = separate_arrays(snapshot.optimizer)
    state = {
        "began": _digest(checkpoint),
        "branch": timeline.branch.name,
        "branches": [
            {"name": branch.name, "edits": text_of(branch.edits), "records": branch.records[-MOST_RECORDS:]}
            for branch in timeline.branches.values()
        ],
        "applied": text_of(snapshot.applied),
        "step": snapshot.step,
        "fragment": session.seen.fragment,
        "position": snapshot.position,
        "optimizer": optimizer,
    }
    folder = run / FOLDER / checkpoint.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: the folder of the lab's state cannot be made: {error.strerror}") from None
    written = write_snapshot(
        folder,
        checkpoint_name(snapshot.step),
        {
            WEIGHTS: partial(dump_safetensors, tensors=snapshot.weights),
            OPTIMIZER: partial(dump_safetensors, tensors=arrays),
            STATE: json_bytes(for_json(finite(state)), indent=None),
        },
    )
    prune_snapshots(folder, 1, protect=[written.name])
    return written


def bring_back(session: Session, run: Path, checkpoint: Path) -> str:
    """Go on where the last lab on this checkpoint ended; returns a notice, "" where there was none.

    Raises: CheckpointError, FormatError for files that do not fit
    """
    folder, _ = newest_whole_snapshot(run / FOLDER / checkpoint.name)
    if folder is None:
        return ""
    state = read_json(folder / STATE)
    try:
        if state["began"] != _digest(checkpoint):
            return f"the lab's state in {folder} belongs to another checkpoint of the run, and is left alone"
        applied = edits_of(state["applied"])
        optimizer = rejoin_arrays(read_safetensors(folder / OPTIMIZER), state["optimizer"])
        weights = dict(read_safetensors(folder / WEIGHTS))
        snapshot = Snapshot(int(state["step"]), applied, weights, optimizer, {}, state["position"])
        timeline = session.training()
        for known in state["branches"]:
            timeline.branches[known["name"]] = Branch(known["name"], edits_of(known["edits"]), list(known["records"]))
        branch = session.branch(state["branch"])
        timeline.adopt(snapshot, branch)
        session.seen.fragment = str(state["fragment"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder}: must hold what a lab wrote; {str(error)[:300]}") from error
    return f"going on at step {snapshot.step} of branch {branch.name}, where the last lab ended"


def _digest(checkpoint: Path) -> str:
    """What tells one checkpoint from another: the sums of its files."""
    return hashlib.sha256((checkpoint / "manifest.json").read_bytes()).hexdigest()
