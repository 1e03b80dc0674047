"""Products by oneDNN and by MKL are one and the same."""

import pytest
import torch
from torch.nn import functional as F

from replication.core.products import linear


@pytest.mark.parametrize("inputs", [0, 1, 70])
def test_linear_is_pytorchs(inputs: int) -> None:
    x, weight, bias = (torch.randn(shape) for shape in ((9, inputs), (5, inputs), (5,)))
    assert torch.allclose(linear(x, weight, bias), F.linear(x, weight, bias), atol=1e-5)
    expected = F.linear(x, weight, bias).relu()
    assert torch.allclose(linear(x, weight, bias, relu=True), expected, atol=1e-5)
    apart = torch.randn(inputs, 10)[:, ::2].T  # lies in memory neither way
    assert torch.allclose(linear(x, apart), F.linear(x, apart), atol=1e-5)
