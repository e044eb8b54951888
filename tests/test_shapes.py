"""Shapes in types are checked while tests run, or they would be comments."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from agents.parts.planners import imagined_return


def test_a_tensor_of_another_shape_than_its_type_says_is_refused() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="cont"):
        imagined_return(torch.zeros(3, 4), torch.zeros(4, 3), 1.0)
