"""What a trial's process is like for its agent: no agent need see to it itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

# 1e-30 over 1e10 is 1e-40, below the least normal float32.
TINY = """
import sys
from suites.runner.problem import agent_module
agent_module(sys.argv[1])
import torch
print(torch.get_num_threads(), bool((torch.full((16,), 1e-30) / 1e10).any()))
"""


@pytest.mark.parametrize("agent", ["agents.steve", "baselines.sac"])
def test_whoever_computes_with_torch_has_one_thread_and_takes_tiny_numbers_for_zero(agent: str) -> None:
    found = subprocess.run([sys.executable, "-c", TINY, agent], capture_output=True, text=True, check=True).stdout
    assert found.split() == ["1", "False"]


def test_whoever_does_not_is_spared_the_import() -> None:
    code = "import sys; from suites.runner.problem import agent_module; agent_module('agents.dyna_q')"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)


@pytest.mark.parametrize("agent", ["baselines.uniform", "baselines.sac"])
def test_opencv_keeps_to_one_thread_whoever_imports_it_first(agent: str) -> None:
    code = "from suites.runner.problem import agent_module; from suites import envs; import sys; "
    code += "agent_module(sys.argv[1]); envs.build('carracing_fast', {}).reset(seed=0); "
    code += "import cv2; print(cv2.getNumThreads())"
    command = [sys.executable, "-c", code, agent]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["1"]
