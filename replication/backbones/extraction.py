"""Features of images in their own order: plain, or under a training view."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from replication.backbones.networks import features_of
from replication.core.settings import ImageSettings
from replication.images.batches import (
    ImageSplit,
    looked_at_once,
    plain_batches,
    view_batches,
)

if TYPE_CHECKING:  # a second to load: only where one is used
    from torchvision.transforms import v2


# Batches whose features stay on the device until they are fetched together: fetching
# waits for all that the device was told, and meanwhile nobody tells it more.
_HELD = 32


def extract_features(
    network: nn.Module,
    images: ImageSplit,
    settings: ImageSettings,
    device: torch.device,
    workers: int,
) -> np.ndarray:
    """Pooled features (N, D) float32 in front of the head, without augmentation.

    The network is put into evaluation mode.
    """
    size = looked_at_once(settings.image_size, device)
    batches = plain_batches(images, size, settings, device, workers)
    return _features(network, batches, len(images), device)


def extract_augmented(
    network: nn.Module,
    images: ImageSplit,
    view: "v2.Transform",
    settings: ImageSettings,
    device: torch.device,
    workers: int,
    seed: int,
) -> np.ndarray:
    """Features (N, D) of one augmented look, drawn by the seed, at each image."""
    size = looked_at_once(settings.image_size, device)
    looks = view_batches(images, [view], size, settings, device, workers)
    batches = looks(torch.arange(len(images)), seed)
    return _features(network, batches, len(images), device)


@torch.inference_mode()
def _features(
    network: nn.Module,
    batches: Iterator[tuple[Tensor, ...]],
    number: int,
    device: torch.device,
) -> np.ndarray:
    network.eval().to(device, memory_format=torch.channels_last)
    width = getattr(network, "head_hidden_size", None) or network.num_features
    features = np.empty((number, width), dtype=np.float32)
    start = 0
    while held := [
        features_of(network, pixels).float() for pixels, _ in islice(batches, _HELD)
    ]:
        rows = torch.cat(held).cpu().numpy()
        features[start : start + len(rows)] = rows
        start += len(rows)
    return features
