"""What agents tell of their training: a sparse file beside the rows, and a trial that diverged ends with the reason."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from agents.protocol import Phase
from results import record
from suites.runner.losses import ROWS, Losses
from suites.runner.trial import Trial
from suites.spec import TrialSpec


def told(work: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (work / "losses.jsonl").read_text().splitlines()]


def test_losses_are_told_at_most_so_many_times_over_a_budget(tmp_path: Path) -> None:
    losses = Losses(tmp_path, budget=10 * ROWS)
    for step in range(1, 10 * ROWS + 1):
        losses.write(step, {"loss/model": 1 / step}, None)
    rows = told(tmp_path)
    assert len(rows) == ROWS
    assert rows[1] == {"step": 11, "loss/model": 1 / 11}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_refused_even_where_no_row_is_due(tmp_path: Path, bad: float) -> None:
    losses = Losses(tmp_path, budget=1000 * ROWS)
    losses.write(7, {"loss/model": 0.5, "loss/critic": 2.0, "pairs": bad}, Phase("fit", 1, 2))
    found = rf"found loss/critic {bad:g} after 8 steps; look for .* lower the learning rate"
    with pytest.raises(FloatingPointError, match=found):
        losses.write(8, {"loss/model": 0.5, "loss/critic": bad}, None)
    assert len(told(tmp_path)) == 1


def test_a_trial_whose_agent_tells_of_such_a_loss_ends_there(tmp_path: Path) -> None:
    spec = TrialSpec.model_validate(
        {
            "suite": "made-up", "task": "task", "entrant": "diverging", "seed": 0, "env": "maze", "budget": 50,
            "agent": "tests.misbehaving", "config": {"how": "diverge", "at": 20},
            "evaluate": {"every": 50, "episodes": 1, "final_episodes": 1},
        }
    )  # fmt: skip
    record.work_folder(record.record_path(tmp_path, "made-up", "task", "diverging", 0)).mkdir(parents=True)
    trial = Trial(spec, tmp_path, checkpoint_every=float("inf"))
    with pytest.raises(FloatingPointError, match="found loss/model nan after 20 steps"):
        trial.run()
    assert trial.gate.steps == 20
    assert not trial.path.exists()
