"""Products by oneDNN and by MKL are one and the same."""

import pytest
import torch
from torch.nn import functional as F

from replication.core.products import linear


@pytest.mark.parametrize("size", [(9, 0, 5), (9, 70, 5), (2**12, 32, 16)])
def test_linear_is_pytorchs(size: tuple[int, int, int]) -> None:
    """The last is large enough for oneDNN."""
    rows, width, outputs = size
    shapes = (rows, width), (outputs, width), (outputs,)
    x, weight, bias = (torch.randn(shape) for shape in shapes)
    assert torch.allclose(linear(x, weight, bias), F.linear(x, weight, bias), atol=1e-5)
    expected = F.linear(x, weight, bias).relu()
    assert torch.allclose(linear(x, weight, bias, relu=True), expected, atol=1e-5)
    apart = torch.randn(width, 2 * outputs)[:, ::2].T  # lies in memory neither way
    assert torch.allclose(linear(x, apart), F.linear(x, apart), atol=1e-5)
