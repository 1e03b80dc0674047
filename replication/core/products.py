"""Matrix products, by the faster of the two libraries that PyTorch has on a CPU."""

import torch
from torch import Tensor
from torch.nn import functional as F

# oneDNN's product; `torch.mm` takes MKL's, which leaves half of a CPU idle that is not
# Intel's (bench/README.md). PyTorch's own compiler calls it; it has no gradient.
_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_LARGE = 2**21  # terms of a product; below, what each call costs tells


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False
) -> Tensor:
    """x W^T + b, (B, in) and (out, in) -> (B, out), rectified where asked.

    For gradients written by hand: autograd does not see it.
    """
    large = x.numel() * len(weight) >= _LARGE
    if _ONEDNN and large and x.device.type == "cpu" and x.dtype == torch.float32:
        # A weight that lies in memory neither way would be multiplied term by term.
        if not (weight.is_contiguous() or weight.T.is_contiguous()):
            weight = weight.contiguous()
        return _ONEDNN(x, weight, bias, "relu" if relu else "none", [], "")
    y = F.linear(x, weight, bias)
    return y.relu_() if relu else y
