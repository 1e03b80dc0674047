"""Features of every split, in the order of the index."""

from itertools import islice

import numpy as np
import torch
from torch import nn

from replication.backbones.networks import features_of
from replication.core.settings import ImageSettings
from replication.images.batches import ImageSplit, plain_batches

_BATCH = 256
# Batches whose features stay on the device until they are fetched together: fetching
# waits for all that the device was told, and meanwhile nobody tells it more.
_HELD = 32


@torch.inference_mode()
def extract_features(
    network: nn.Module,
    images: ImageSplit,
    settings: ImageSettings,
    device: torch.device,
    workers: int,
) -> np.ndarray:
    """Pooled features in front of the head, without augmentation.

    Args:
        network: trained; put into evaluation mode.
        images: one split.

    Returns:
        (N, D) float32.
    """
    network.eval().to(device, memory_format=torch.channels_last)
    batches = plain_batches(images, _BATCH, settings, device, workers)
    width = getattr(network, "head_hidden_size", None) or network.num_features
    features = np.empty((len(images), width), dtype=np.float32)
    start = 0
    while held := [
        features_of(network, pixels).float() for pixels, _ in islice(batches, _HELD)
    ]:
        rows = torch.cat(held).cpu().numpy()
        features[start : start + len(rows)] = rows
        start += len(rows)
    return features
