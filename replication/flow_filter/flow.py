"""The density of the Flow Filter, built on nflows; the only importer of nflows.

A masked autoregressive flow carries features x to latents z; the base density of z is a
mixture of K unit-covariance Gaussians whose centres are drawn once and never move.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from nflows.transforms import (
    BatchNorm,
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    ReversePermutation,
)
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_BLOCK_WIDTH = 256


class Density(NamedTuple):
    """Of a batch: log P(x) (B,) in nats, log P(h | x) (B, K), latent z (B, D)."""

    log_likelihood: Tensor
    log_posterior: Tensor
    latent: Tensor


class GaussianMixture(nn.Module):
    """Equal-weight mixture of K Gaussians with unit covariance and fixed centres.

    Implements: Sect. 3: components N(mu_k, I), mu_k drawn from N(0, sigma^2 I).
    """

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        self.register_buffer("centres", centres)
        self.register_buffer("half_square", 0.5 * centres.square().sum(1))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log P(z) (B,) and log P(h | z) (B, K) of z (B, D), nats.

        The square is expanded, |z - mu|^2 = |z|^2 - 2 z.mu + |mu|^2, so that the
        largest array is (B, K), never (B, K, D).
        """
        scores = torch.addmm(-self.half_square, z, self.centres.T)
        total = scores.logsumexp(1)
        clusters, dimensions = self.centres.shape
        constant = 0.5 * dimensions * math.log(2 * math.pi) + math.log(clusters)
        offset = -0.5 * z.square().sum(1) - constant
        return total + offset, scores - total[:, None]


class _TriangularProduct(torch.autograd.Function):
    """x W^T where row block r of W is zero beyond its first `reach[r]` columns."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mask: Tensor,
        blocks: tuple[tuple[int, int, int], ...],
    ) -> Tensor:
        y = x.new_empty(len(x), len(weight))
        for first, last, reach in blocks:
            rows = weight[first:last, :reach].T
            torch.addmm(bias[first:last], x[:, :reach], rows, out=y[:, first:last])
        ctx.save_for_backward(x, weight, mask)
        ctx.blocks = blocks
        return y

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight, mask = ctx.saved_tensors
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight)
        for first, last, reach in ctx.blocks:
            part = grad[:, first:last]
            if grad_x is not None:
                grad_x[:, :reach].addmm_(part, weight[first:last, :reach])
            rows = grad_weight[first:last, :reach]
            torch.mm(part.T, x[:, :reach], out=rows)
            rows.mul_(mask[first:last, :reach])
        return grad_x, grad_weight, grad.sum(0), None, None


class TriangularLinear(nn.Module):
    """MADE's masked linear map; the half of it that the mask forbids is not computed.

    nflows' MaskedLinear masks the weight anew in every pass and multiplies it whole.
    Here the weight is masked once, its gradient always (so that under SGD it stays
    masked), and with units in order of degree a block of rows needs only the columns up
    to its own degree: 1.0, 1.2 and 1.7 times as fast a filter step at D = 64, 512 and
    2,048 (bench/README.md).

    Args:
        linear: nflows' layer whose weight (out, in) and bias (out,) are taken over.
        in_degrees: (in,) ascending.
        out_degrees: (out,) ascending, or in runs that are.
        strict: whether an output may see only lower degrees, or its own as well.
    """

    def __init__(
        self, linear: nn.Linear, in_degrees: Tensor, out_degrees: Tensor, strict: bool
    ) -> None:
        super().__init__()
        limit = out_degrees - 1 if strict else out_degrees
        mask = limit[:, None] >= in_degrees
        self.weight = nn.Parameter(linear.weight.detach() * mask)
        self.bias = nn.Parameter(linear.bias.detach().clone())
        self.register_buffer("mask", mask, persistent=False)
        rows = len(out_degrees)
        edges = (
            torch.linspace(0, rows, max(1, rows // _BLOCK_WIDTH) + 1).long().tolist()
        )
        self.blocks = tuple(
            (first, last, int(mask[first:last].any(0).sum()))
            for first, last in pairwise(edges)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, in) -> (B, out)."""
        return _TriangularProduct.apply(
            inputs, self.weight, self.bias, self.mask, self.blocks
        )


class _Affine(torch.autograd.Function):
    """y = s x + t and sum log s, s = softplus(a) + eps, for parameters [a, t]."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, given: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        raw, shift = given.chunk(2, dim=1)
        scale = F.softplus(raw).add_(eps)
        ctx.save_for_backward(x, raw, scale)
        return torch.addcmul(shift, scale, x), scale.log().sum(1)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor, grad_log_det: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, raw, scale = ctx.saved_tensors
        grad_given = torch.empty(len(x), 2 * x.shape[1], dtype=x.dtype, device=x.device)
        grad_raw, grad_shift = grad_given.chunk(2, dim=1)
        torch.div(grad_log_det[:, None], scale, out=grad_raw)
        grad_raw.addcmul_(grad, x).mul_(raw.sigmoid())
        grad_shift.copy_(grad)
        grad_x = grad * scale if ctx.needs_input_grad[0] else None
        return grad_x, grad_given, None


class AffineAutoregressive(MaskedAffineAutoregressiveTransform):
    """nflows' masked affine transform, its elementwise half in one step.

    The net gives all scales and then all shifts, not one after the other in turn, so
    that both lie in one piece; the gradient is written out.
    """

    def _elementwise_forward(self, inputs: Tensor, given: Tensor) -> tuple:
        return _Affine.apply(inputs, given, self._epsilon)

    def _unconstrained_scale_and_shift(self, given: Tensor) -> tuple[Tensor, Tensor]:
        return given.chunk(2, dim=1)


class _Normalised(torch.autograd.Function):
    """Batch-norm of a training batch, and sum_d log of what it divides by.

    PyTorch's kernel divides by the biased variance, nflows by the unbiased one:
    var + eps = (var_biased + eps (n - 1) / n) n / (n - 1).
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor],
        momentum: float,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        ratio = (len(x) - 1) / len(x)
        scaled, ctx.eps, ctx.ratio = weight * ratio**0.5, eps * ratio, ratio
        y, mean, inverse = torch.native_batch_norm(
            x, scaled, bias, *running, True, momentum, ctx.eps
        )
        ctx.save_for_backward(x, scaled, mean, inverse)
        return y, -inverse.log().sum() - 0.5 * x.shape[1] * math.log(ratio)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor, grad_log_det: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, scaled, mean, inverse = ctx.saved_tensors
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, scaled, None, None, mean, inverse, True, ctx.eps, [True] * 3
        )
        grad_x.addcmul_(x - mean, grad_log_det / len(x) * inverse.square())
        return grad_x, grad_weight * ctx.ratio**0.5, grad_bias, None, None, None


class BatchNormTransform(BatchNorm):
    """nflows' batch-norm transform; of a training batch by PyTorch's own kernel."""

    def forward(self, inputs: Tensor, context: None = None) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B, D) and log |det|, (B,)."""
        if not self.training:
            return super().forward(inputs, context)
        weight = self.weight
        running = (self.running_mean, self.running_var)
        outputs, log_divisor = _Normalised.apply(
            inputs, weight, self.bias, running, self.momentum, self.eps
        )
        log_det = weight.log().sum() - log_divisor
        return outputs, log_det.expand(len(inputs))


class FlowFilter(nn.Module):
    """log P(x) and P(h | x) of features x (B, D).

    Implements: Sect. 3 with the architecture of the released configuration: 2 blocks,
    each a MADE (hidden width D, two hidden layers, ReLU) and a batch-norm transform,
    the order of the dimensions reversed between the blocks. The generator, on the CPU,
    draws centres and weights.
    """

    def __init__(
        self,
        dimensions: int,
        num_clusters: int,
        sigma: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            centres = sigma * torch.randn(num_clusters, dimensions)
            self.base = GaussianMixture(centres)
            first, second = _block(dimensions), _block(dimensions)
            turn = ReversePermutation(dimensions)
            self.transform = CompositeTransform([*first, turn, *second])

    def forward(self, x: Tensor) -> Density:
        """Density of a batch of features (B, D)."""
        z, log_det = self.transform(x)
        log_base, log_posterior = self.base(z)
        return Density(log_base + log_det, log_posterior, z)


def _block(dimensions: int) -> list[nn.Module]:
    flow = AffineAutoregressive(
        features=dimensions,
        hidden_features=dimensions,
        num_blocks=1,
        use_residual_blocks=False,
        activation=F.relu,
    )
    _order_by_degree(flow.autoregressive_net)
    return [flow, BatchNormTransform(dimensions)]


def _order_by_degree(made: nn.Module) -> None:
    """Replace a MADE's layers by triangular ones, hidden units in order of degree."""
    given = torch.arange(1, made.initial_layer.in_features + 1)
    hidden = made.initial_layer.degrees.sort().values
    # nflows gives a scale and a shift in turn; here all scales come before all shifts.
    final = made.final_layer
    order = torch.arange(len(final.weight)).view(-1, 2).T.flatten()
    final.weight.data, final.bias.data = final.weight[order], final.bias[order]
    out = final.degrees[order]
    first, [block] = made.initial_layer, made.blocks
    made.initial_layer = TriangularLinear(first, given, hidden, strict=False)
    block.linear = TriangularLinear(block.linear, hidden, hidden, strict=False)
    made.final_layer = TriangularLinear(final, hidden, out, strict=True)
