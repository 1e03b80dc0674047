"""The density of the Flow Filter and its gradient; the only importer of nflows.

A masked autoregressive flow carries features x to latents z; the base density of z is a
mixture of K unit-covariance Gaussians whose centres are drawn once and never move.
nflows draws the weights. Gradients are written out: a fit is made of a few products,
and autograd's record of all between them would cost as much as they.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from nflows.transforms import BatchNorm, MaskedAffineAutoregressiveTransform
from torch import Tensor, nn
from torch.nn import functional as F

from replication.core.products import linear

_BLOCK_WIDTH = 256
_ALIGNED = 16


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
        """log P(z) (B,) and log P(h | z) (B, K) of z (B, D), nats."""
        scores = self.scores(z)
        total = scores.logsumexp(1)
        return total + self.offset(z), scores - total[:, None]

    def scores(self, z: Tensor) -> Tensor:
        """z.mu - |mu|^2 / 2, (B, K): log P(z, h) but for what is the same for every h.

        The square is expanded, |z - mu|^2 = |z|^2 - 2 z.mu + |mu|^2, so that the
        largest array is (B, K), never (B, K, D).
        """
        return linear(z, self.centres, -self.half_square)

    def offset(self, z: Tensor) -> Tensor:
        """What is the same for every h, (B,)."""
        clusters, dimensions = self.centres.shape
        constant = 0.5 * dimensions * math.log(2 * math.pi) + math.log(clusters)
        return -0.5 * z.square().sum(1) - constant


class MaskedLinear(nn.Module):
    """MADE's masked linear map; the half of it that the mask forbids is not computed.

    The weight is masked once, and what is added to it always. With units in order of
    degree a block of rows needs only the columns up to its own degree.

    Args:
        layer: nflows' layer whose weight (out, in) and bias (out,) are taken over.
        in_degrees: (in,) ascending; out_degrees: (n,) ascending, and once more for
            every further n outputs.
        strict: whether an output may see only lower degrees, or its own as well.
    """

    def __init__(
        self, layer: nn.Linear, in_degrees: Tensor, out_degrees: Tensor, strict: bool
    ) -> None:
        super().__init__()
        limit = out_degrees - 1 if strict else out_degrees
        sees = limit[:, None] >= in_degrees
        runs, rows = range(len(layer.weight) // len(sees)), len(sees)
        mask = sees.repeat(len(runs), 1)
        self.weight = nn.Parameter(layer.weight.detach() * mask)
        self.bias = nn.Parameter(layer.bias.detach().clone())
        # Of a block of rows: the columns that all of it see, and that any of it sees.
        self._rows = []
        for first, last in _blocks(len(mask)):
            some = mask[first:last]
            every, reach = int(some.all(0).sum()), int(some.any(0).sum())
            reach = min(-(-reach // _ALIGNED) * _ALIGNED, len(in_degrees))
            if len(some) == len(mask):
                every, reach = 0, len(in_degrees)
            edge = some[:, every:reach].to(layer.weight.dtype)
            self.register_buffer(f"edge_{first}", edge, persistent=False)
            self._rows.append((first, last, every, reach))
        # Of a block of columns: in each run, the rows that see any of it.
        self._columns = []
        for first, last in _blocks(len(in_degrees)):
            start = rows - int(sees[:, first:last].any(1).sum())
            lengths = [(run * rows + start, (run + 1) * rows) for run in runs]
            self._columns.append((first, last, lengths))

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """(B, in) -> (B, out), rectified where asked."""
        weight, bias = self.weight, self.bias
        if len(self._rows) == 1:
            return linear(x, weight, bias, relu)
        blocks = [
            linear(x[:, :reach], weight[first:last, :reach], bias[first:last], relu)
            for first, last, _, reach in self._rows
        ]
        return torch.cat(blocks, 1)

    def to_inputs(self, grad: Tensor) -> Tensor:
        """Gradient of the outputs (B, out) -> of the inputs (B, in)."""
        if len(self._columns) == 1:
            return linear(grad, self.weight.T)
        blocks = []
        for first, last, lengths in self._columns:
            start, end = lengths[0]
            block = linear(grad[:, start:end], self.weight[start:end, first:last].T)
            for start, end in lengths[1:]:
                rows = self.weight[start:end, first:last]
                block += linear(grad[:, start:end], rows.T)
            blocks.append(block)
        return torch.cat(blocks, 1)

    def descend(self, x: Tensor, grad: Tensor, lr: float) -> None:
        """A step of SGD, by inputs (B, in) and the gradient of the outputs (B, out)."""
        self.bias.sub_(grad.sum(0), alpha=lr)
        if len(self._rows) == 1:
            self.weight.addcmul_(linear(grad.T, x.T), self.edge_0, value=-lr)
            return
        for first, last, every, reach in self._rows:
            change = linear(grad[:, first:last].T, x[:, :reach].T)
            rows, edge = self.weight[first:last], getattr(self, f"edge_{first}")
            if every:
                rows[:, :every].sub_(change[:, :every], alpha=lr)
            rows[:, every:reach].addcmul_(change[:, every:], edge, value=-lr)


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    """First and last of each of as many equal blocks as have at least the width."""
    edges = torch.linspace(0, size, max(1, size // _BLOCK_WIDTH) + 1)
    return pairwise(edges.long().tolist())


class _Passed(NamedTuple):
    """What a block's gradient needs of its way forward; (N, D) up to `y`.

    Fields: `x`, its input; the `hidden` layers of its net; `raw` and `scale` before and
    after softplus; `y` before batch-norm; batch-norm's `weight` (D,); of each part
    `mean` and `inverse` deviation.
    """

    x: Tensor
    hidden: tuple[Tensor, Tensor]
    raw: Tensor
    scale: Tensor
    y: Tensor
    weight: Tensor
    mean: Tensor
    inverse: Tensor


class Block(nn.Module):
    """A MADE that scales and shifts each dimension, and a batch-norm transform.

    All scales come before all shifts, not in turn as in nflows, so that both lie in one
    piece.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        affine = MaskedAffineAutoregressiveTransform(
            features=dimensions,
            hidden_features=dimensions,
            num_blocks=1,
            use_residual_blocks=False,
            activation=F.relu,
        )
        made, [middle] = affine.autoregressive_net, affine.autoregressive_net.blocks
        made.final_layer.weight.data = _scales_first(made.final_layer.weight.data)
        made.final_layer.bias.data = _scales_first(made.final_layer.bias.data)
        given = torch.arange(1, dimensions + 1)
        hidden = made.initial_layer.degrees.sort().values
        self.first = MaskedLinear(made.initial_layer, given, hidden, strict=False)
        self.second = MaskedLinear(middle.linear, hidden, hidden, strict=False)
        self.final = MaskedLinear(made.final_layer, hidden, given, strict=True)
        self.floor = affine._epsilon
        self.norm = BatchNorm(dimensions)

    def forward(
        self, x: Tensor, parts: int = 1
    ) -> tuple[Tensor, Tensor, _Passed | None]:
        """z (N, D), log |det| of the first part (N / parts,); in training what passed.

        In training the N samples are normalised in equal parts, one after the other.
        """
        hidden = self.first(x, relu=True)
        hidden = (hidden, self.second(hidden, relu=True))
        raw, shift = self.final(hidden[1]).chunk(2, dim=1)
        scale = _softplus(raw).add_(self.floor)
        y = torch.addcmul(shift, scale, x)
        number = len(x) // parts
        log_det = scale[:number].log().sum(1)
        if not self.training:
            z, log_norm = self.norm(y)
            return z, log_det + log_norm[:number], None
        weight = self.norm.weight
        z, mean, inverse = self._normalise(y, weight, number)
        log_norm = (weight * inverse[0]).log().sum()
        log_det += log_norm + 0.5 * x.shape[1] * math.log(_ratio(number))
        return z, log_det, _Passed(x, hidden, raw, scale, y, weight, mean, inverse)

    def _normalise(
        self, y: Tensor, weight: Tensor, number: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """By PyTorch's kernel, part by part; it divides by the biased variance.

        nflows by the unbiased: var + eps = (var_biased + eps ratio) / ratio.
        """
        norm, ratio = self.norm, _ratio(number)
        z, scaled = torch.empty_like(y), weight * ratio**0.5
        mean = y.new_empty(len(y) // number, y.shape[1])
        inverse = torch.empty_like(mean)
        given = (scaled, norm.bias, norm.running_mean, norm.running_var)
        for part, (some, to) in enumerate(
            zip(y.split(number), z.split(number), strict=True)
        ):
            torch.native_batch_norm(
                some, *given, True, norm.momentum, norm.eps * ratio,
                out=(to, mean[part], inverse[part]),
            )  # fmt: skip
        return z, mean, inverse

    def descend(
        self, passed: _Passed, grad: Tensor, grad_log_det: Tensor, lr: float, on: bool
    ) -> Tensor | None:
        """A step of SGD by the gradients of z and log |det|; that of x where `on`."""
        x, hidden, raw, scale, *_ = passed
        grad = self._descend_norm(passed, grad, grad_log_det.sum(), lr)
        number = len(grad_log_det)
        grad_given = grad.new_empty(len(x), 2 * x.shape[1])
        grad_raw, grad_shift = grad_given.chunk(2, dim=1)
        grad_shift.copy_(grad)
        torch.mul(grad, x, out=grad_raw)
        grad_raw[:number].addcdiv_(grad_log_det[:, None], scale[:number])
        grad_raw.mul_(raw.sigmoid())
        back = grad.mul_(scale) if on else None
        for layer, inputs in ((self.final, hidden[1]), (self.second, hidden[0])):
            to_inputs = layer.to_inputs(grad_given)
            layer.descend(inputs, grad_given, lr)
            grad_given = torch.ops.aten.threshold_backward(to_inputs, inputs, 0)
        if back is not None:
            back += self.first.to_inputs(grad_given)
        self.first.descend(x, grad_given, lr)
        return back

    def _descend_norm(
        self, passed: _Passed, grad: Tensor, total: Tensor, lr: float
    ) -> Tensor:
        """Batch-norm's step, and the gradient of y; `total`: of log |det|, summed."""
        norm, number = self.norm, len(grad) // len(passed.mean)
        ratio, weight = _ratio(number), passed.weight
        scaled = weight * ratio**0.5
        grads = [
            torch.ops.aten.native_batch_norm_backward(
                grad_part, y, scaled, None, None, mean, inverse,
                True, norm.eps * ratio, [True] * 3,
            )
            for grad_part, y, mean, inverse in zip(
                grad.split(number), passed.y.split(number), passed.mean, passed.inverse,
                strict=True,
            )
        ]  # fmt: skip
        of_y, of_weight, of_bias = zip(*grads, strict=True)
        inverse = passed.inverse[0]
        centred = passed.y[:number] - passed.mean[0]
        of_y[0].addcmul_(centred, inverse.square().mul_(-total / number))
        of_weight = sum(of_weight) * ratio**0.5 + total / weight
        slope = norm.unconstrained_weight.sigmoid()
        norm.unconstrained_weight.sub_(of_weight * slope, alpha=lr)
        norm.bias.sub_(sum(of_bias), alpha=lr)
        return torch.cat(of_y) if len(of_y) > 1 else of_y[0]


def _softplus(x: Tensor) -> Tensor:
    """log(1 + e^x); PyTorch's own takes its logarithms one by one on some CPUs."""
    small = x.abs().neg_().exp_()
    total = small + 1
    rounded_off = small.sub_(total - 1)
    return total.log().addcdiv_(rounded_off, total).add_(x.clamp_min(0))


def _ratio(number: int) -> float:
    """The biased variance of a number of samples over the unbiased one."""
    return (number - 1) / number


def _scales_first(rows: Tensor) -> Tensor:
    """Rows of a scale and a shift in turn, as nflows has them -> all scales first."""
    return rows.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)


class FlowFilter(nn.Module):
    """log P(x) and P(h | x) of features x (B, D).

    Implements: Sect. 3 with the architecture of the released configuration: 2 blocks,
    each a MADE (hidden width D, two hidden layers, ReLU) and a batch-norm transform,
    the order of the dimensions reversed between the blocks. The generator, on the CPU,
    draws centres and weights. Autograd sees nothing of it: see `descend`.
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
            self.blocks = nn.ModuleList([Block(dimensions), Block(dimensions)])
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Density:
        """Density of a batch of features (B, D)."""
        z, log_det, _ = self.transform(x)
        log_base, log_posterior = self.base(z)
        return Density(log_base + log_det, log_posterior, z)

    def most_likely(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log P(x) (B,), nats, and the most likely cluster (B,), of features (B, D)."""
        z, log_det, _ = self.transform(x)
        scores = self.base.scores(z)
        best, cluster = scores.max(1)
        # Of the most likely cluster, log P(h | x) never underflows.
        log_posterior = scores.softmax(1).gather(1, cluster[:, None])[:, 0].log_()
        return best - log_posterior + self.base.offset(z) + log_det, cluster

    def transform(
        self, x: Tensor, parts: int = 1
    ) -> tuple[Tensor, Tensor, tuple[_Passed, _Passed]]:
        """Latents z (N, D), log |det| of the first part, and what `descend` needs.

        In training each of the `parts` of x (N, D), of equal size, is a batch.
        """
        first, second = self.blocks
        y, log_first, passed = first(x, parts)
        z, log_second, passed_on = second(y.flip(1), parts)
        return z, log_first + log_second, (passed, passed_on)

    def descend(
        self,
        passed: tuple[_Passed, _Passed],
        grad: Tensor,
        grad_log_det: Tensor,
        lr: float,
    ) -> None:
        """A step of SGD, by the gradients of z (N, D) and log |det| (N / parts,)."""
        first, second = self.blocks
        back = second.descend(passed[1], grad, grad_log_det, lr, on=True)
        first.descend(passed[0], back.flip(1), grad_log_det, lr, on=False)
