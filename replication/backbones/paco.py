"""PaCo: training a network by parametric contrastive learning, resumable each epoch.

Every random choice of epoch e follows from (seed, e) alone: a run that was killed and
resumed passes through the same states as one that was not.
"""

import copy
import math
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from replication.backbones.checkpoints import start_network
from replication.backbones.networks import features_of, last_block
from replication.backbones.training import (
    History,
    epoch_order,
    refuse_not_finite,
    share_of,
    train_epochs,
    validated,
)
from replication.core.files import BadInput
from replication.core.progress import Tell
from replication.core.settings import PacoSettings
from replication.images.augmentation import paco_views
from replication.images.batches import (
    Epoch,
    ImageSplit,
    mixed_seed,
    view_batches,
    worker_count,
)

# Keeps the logarithm of the share of a class without an image finite.
_SMALLEST_SHARE = 1e-9
_NO_LABEL = -1
_OF_LOSS = {"alpha", "beta", "gamma", "temperature", "supt"}
# Streams of random numbers within an epoch.
_VIEWS, _SHUFFLE = 0, 1


# ---- The loss ---------------------------------------------------------------------


def log_class_prior(class_counts: Tensor) -> Tensor:
    """(C,) counts, 0 allowed -> log(share + 1e-9) of the images: PaCo's prior."""
    counts = class_counts.double()
    return (counts / counts.sum() + _SMALLEST_SHARE).log().float()


def paco_loss(
    class_logits: Tensor,
    queries: Tensor,
    contrast: Tensor,
    labels: Tensor,
    contrast_labels: Tensor,
    log_prior: Tensor,
    *,
    first: int = 0,
    alpha: float,
    beta: float,
    gamma: float,
    temperature: float,
    supt: float,
) -> Tensor:
    """PaCo's loss (Cui et al., ICCV 2021), the mean over the queries.

    For query i with label y_i, the scores of the classes and of the other samples are

        s_ic = (logit_ic + log prior_c) / supt,      t_ij = q_i . z_j / temperature,

    the positives P_i = {j : label_j = y_i, j is not i itself}, and

        loss_i = log( Σ_c exp s_ic + γ Σ_{j not i} exp t_ij )
                 − ( β s_iy + α Σ_{j in P_i} t_ij ) / ( β + α |P_i| ).

    Args:
        class_logits: (B, C) of the head, without the prior.
        queries: (B, d) of unit length.
        contrast: (M, d) of unit length: queries, keys, queue. Among them are the B
            queries themselves; the gradient reaches them there too.
        labels: (B,) int64, at or above 0.
        contrast_labels: (M,) int64; a negative one is no query's label.
        log_prior: (C,) natural logarithm.
        first: query i is row first + i of `contrast`, where it is left out.

    Returns:
        A scalar: float32, or float64 where both kinds of scores are. Lower is better.
    """
    # Not in half precision: a temperature of 0.05 makes its error twenty times larger.
    with torch.autocast(queries.device.type, enabled=False):
        class_scores = (_at_least_float32(class_logits) + log_prior) / supt
        queries, contrast = _at_least_float32(queries), _at_least_float32(contrast)
        scores = queries @ contrast.T / temperature
        anchors = torch.arange(len(queries), device=queries.device)
        itself = torch.zeros_like(scores, dtype=torch.bool)
        itself[anchors, first + anchors] = True
        positive = (labels[:, None] == contrast_labels) & ~itself
        log_gamma = math.log(gamma) if gamma > 0 else -math.inf
        others = scores.masked_fill(itself, -math.inf) + log_gamma
        log_denominator = torch.cat([class_scores, others], dim=1).logsumexp(1)
        own = class_scores[anchors, labels]
        drawn = beta * own + alpha * scores.masked_fill(~positive, 0).sum(1)
        weights = beta + alpha * positive.sum(1, dtype=own.dtype)
        return (log_denominator - drawn / weights).mean()


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


# ---- The two encoders and the queue -----------------------------------------------


class Paco(nn.Module):
    """A network, its slowly following copy, their projections, a queue of keys.

    The network's own classifier is PaCo's class head, with its bias, on pooled features
    that are not normalised: a trained network needs nothing of this class. It starts as
    PyTorch's linear layers do, whatever the network's own start is. The copy
    follows the network's weights; its batch-norm statistics are its own. The queue
    starts with random keys of unit length and the label -1: they repel, but no query
    counts them among its own class.
    """

    def __init__(
        self,
        network: nn.Module,
        projection_dim: int,
        queue_size: int,
        key_momentum: float,
        seed: int,
    ) -> None:
        """Copy the network; draw the projection to d and the queue of K keys.

        `key_momentum`: share of its old weights that the copy keeps at each step.
        """
        super().__init__()
        self.key_momentum = key_momentum
        self.encoder_q = network
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mixed_seed(seed))
            self.projection_q = _projection(network.num_features, projection_dim)
            queue = F.normalize(torch.randn(queue_size, projection_dim), dim=1)
            network.get_classifier().reset_parameters()
        self.encoder_k = copy.deepcopy(network).requires_grad_(False)
        self.projection_k = copy.deepcopy(self.projection_q).requires_grad_(False)
        # Buffers: with several processes DDP takes them from the first at its start.
        self.register_buffer("queue", queue)
        self.register_buffer("queue_labels", torch.full((queue_size,), _NO_LABEL))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """(B, 3, H, W) -> in training, logits (B, C) and queries (B, d); else logits.

        The logits are without the prior, which is in the loss alone.
        """
        features = features_of(self.encoder_q, pixels)
        logits = self.encoder_q.get_classifier()(features)
        return (logits, _unit(self.projection_q(features))) if self.training else logits

    @torch.no_grad()
    def keys(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, d) of unit length, of the copy."""
        return _unit(self.projection_k(features_of(self.encoder_k, pixels)))

    @torch.no_grad()
    def follow(self) -> None:
        """Move the copy's weights a little towards the network's."""
        for slow, fast in (
            (self.encoder_k, self.encoder_q),
            (self.projection_k, self.projection_q),
        ):
            for there, here in zip(slow.parameters(), fast.parameters(), strict=True):
                there.lerp_(here, 1 - self.key_momentum)

    @torch.no_grad()
    def enqueue(self, keys: Tensor, labels: Tensor) -> None:
        """Put a global batch of keys (B, d), labels (B,) in the place of the oldest."""
        rows = self.pointer + torch.arange(len(keys), device=keys.device)
        self.queue[rows] = keys
        self.queue_labels[rows] = labels
        self.pointer.add_(len(keys)).remainder_(len(self.queue))


def _projection(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, dim)
    )


def _unit(projected: Tensor) -> Tensor:
    return F.normalize(_at_least_float32(projected), dim=1)


def freeze_for_places(network: nn.Module) -> None:
    """Freeze every convolution in front of the last block of the last stage.

    PaCo's rule for Places-LT, where that is ResNet-152's `layer4`. Normalisation layers
    still train, and running statistics move on; so does all that comes after. In other
    networks linear layers, tokens and embeddings are frozen as convolutions are.

    Raises BadInput: the network has no stages.
    """
    last = last_block(network)
    for module in network.modules():  # in the order of the forward pass
        if module is last:
            break
        own = [*module.parameters(recurse=False)]
        if any(weight.ndim > 1 for weight in own):
            for weight in own:
                weight.requires_grad_(False)


# ---- Training ---------------------------------------------------------------------


def contrast_step(
    fabric: Fabric,
    module: nn.Module,
    paco: Paco,
    queries_pixels: Tensor,
    keys_pixels: Tensor,
    labels: Tensor,
    shuffle: Tensor,
    log_prior: Tensor,
    settings: PacoSettings,
) -> tuple[Tensor, Tensor]:
    """Loss of one batch; the copy follows and the queue moves on.

    Queries and keys of all processes are contrasted with one another, gradients
    included: the mean of the processes' losses is the loss of the global batch, however
    many processes share it. (The released code contrasts each process's own; with one
    process there is no difference.) The queue joins in as it was before this batch.

    Args:
        module: `paco` as `fabric.setup` returned it, in training mode.
        queries_pixels: (B, 3, H, W), this process's share of the global batch.
        keys_pixels: (B, 3, H, W), the same images' other views.
        shuffle: (W * B,) a permutation of the global batch, the same on all W
            processes.

    Returns this process's loss, a scalar, and its logits (B, C), detached.
    """
    logits, queries = module(queries_pixels)
    paco.follow()
    keys = _shuffled_keys(fabric, paco, keys_pixels, shuffle)
    all_labels = _gathered(fabric, labels)
    contrast = torch.cat([_gathered(fabric, queries, grads=True), keys, paco.queue])
    loss = paco_loss(
        logits,
        queries,
        contrast,
        labels,
        torch.cat([all_labels, all_labels, paco.queue_labels]),
        log_prior,
        first=fabric.global_rank * len(queries),
        **settings.model_dump(include=_OF_LOSS),
    )
    paco.enqueue(keys, all_labels)
    return loss, logits.detach()


@torch.no_grad()
def _shuffled_keys(
    fabric: Fabric, paco: Paco, pixels: Tensor, shuffle: Tensor
) -> Tensor:
    """Keys (W * B, d) of all processes, each encoded among a random share of them.

    A process's keys then come out of other batch-norm statistics than its queries,
    which could otherwise be told by those. In one process the share is the whole batch
    whatever its order, and shuffling is the identity.
    """
    with fabric.autocast():
        if fabric.world_size == 1:
            return paco.keys(pixels)
        share = shuffle.view(fabric.world_size, -1)[fabric.global_rank]
        pixels = _gathered(fabric, pixels)[share]
        keys = paco.keys(pixels.contiguous(memory_format=torch.channels_last))
    return _gathered(fabric, keys)[shuffle.argsort()]


def _gathered(fabric: Fabric, values: Tensor, grads: bool = False) -> Tensor:
    """(B, ...) of each process -> (W * B, ...) in the processes' order."""
    gathered = fabric.all_gather(values, sync_grads=grads)
    # Fabric adds no dimension where there is one process.
    return gathered if fabric.world_size == 1 else gathered.flatten(0, 1)


def train_paco(
    fabric: Fabric,
    train: ImageSplit,
    val: ImageSplit | None,
    num_classes: int,
    class_counts: Tensor,
    settings: PacoSettings,
    workers: str | int,
    resume: Path | None,
    report: Tell,
) -> tuple[nn.Module, History]:
    """Train a network by PaCo, whose features the paper starts from (Sect. 5).

    `class_counts` (C,) of the training images; the rest as in `train_network`.

    Returns the network, whose own head is PaCo's, without the prior; in each epoch the
    images that do not fill a last batch are left out, others each time. Raises
    BadInput: the loss is not finite, the network cannot be frozen as asked, or batch,
    devices, queue and images do not fit one another.
    """
    _check_sizes(fabric, len(train), settings)
    network = start_network(
        settings.network, num_classes, settings.pretrained, settings.seed
    ).to(memory_format=torch.channels_last)
    if settings.freeze:
        freeze_for_places(network)
    size = (settings.projection_dim, settings.queue_size)
    paco = Paco(network, *size, settings.key_momentum, settings.seed)
    log_prior = log_class_prior(class_counts).to(fabric.device)
    number = worker_count(workers)
    batches = view_batches(
        train,
        paco_views(settings.query_view, settings.key_view, settings.image_size),
        settings.batch_size // fabric.world_size,
        settings,
        fabric.device,
        number,
    )

    given = (paco, batches, len(train), log_prior, settings)
    one_epoch = partial(_one_epoch, fabric, *given)
    look = partial(validated, fabric, val, settings, number)
    history = train_epochs(fabric, paco, settings, resume, one_epoch, look, report)
    return paco.encoder_q, history


def _check_sizes(fabric: Fabric, num_images: int, settings: PacoSettings) -> None:
    batch, world = settings.batch_size, fabric.world_size
    expected = {
        f"paco.batch_size: expected a multiple of the {world} devices, at least 2 for "
        f"each and at most the {num_images} training images, got {batch}": (
            batch % world == 0 and 2 * world <= batch <= num_images
        ),
        f"paco.queue_size: expected a multiple of the batch size {batch}, got "
        f"{settings.queue_size}": settings.queue_size % batch == 0,
    }
    if problems := [line for line, fits in expected.items() if not fits]:
        raise BadInput(problems)


def _one_epoch(
    fabric: Fabric,
    paco: Paco,
    batches: Epoch,
    num_images: int,
    log_prior: Tensor,
    settings: PacoSettings,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    epoch: int,
) -> dict[str, float]:
    """Train for one epoch; loss and accuracy are those of the training batches."""
    batch, world = settings.batch_size, fabric.world_size
    order = epoch_order(num_images, settings.seed, epoch)
    order = order[: len(order) - len(order) % batch]
    share = share_of(order, batch, fabric.global_rank, world)
    views = batches(share, mixed_seed(settings.seed, epoch, _VIEWS))
    generator = torch.Generator().manual_seed(
        mixed_seed(settings.seed, epoch, _SHUFFLE)
    )
    # (steps, 2) stays on the device: a look at each loss would hold up the next step.
    seen = torch.zeros(len(order) // batch, 2, device=fabric.device)
    for step, (queries, keys, labels) in enumerate(views):
        shuffle = torch.randperm(batch, generator=generator)
        loss, logits = contrast_step(
            fabric,
            module,
            paco,
            queries,
            keys,
            labels,
            shuffle.to(fabric.device, non_blocking=True),
            log_prior,
            settings,
        )
        optimiser.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimiser.step()
        correct = (logits.argmax(1) == labels).float().mean()
        seen[step] = torch.stack([loss.detach(), correct])
    seen = fabric.all_reduce(seen, reduce_op="mean")
    refuse_not_finite(seen[:, 0], epoch, "paco")
    loss, correct = seen.double().mean(0).tolist()
    return {"train_loss": loss, "train_accuracy": correct}
