"""Networks: every one that timm knows, and the field's ResNets for 32-pixel images.

A network offers timm's own interface: `forward_features`, then
`forward_head(..., pre_logits=True)` for the features (N, D), then `get_classifier()`.
"""

import difflib
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication.core.files import BadInput, read_arrays

_CIFAR_RESNET = re.compile(r"resnet(\d+)_cifar")
# What networks call their stages, or what holds them.
_STAGES = re.compile(r"(layer|s)\d|blocks|stages|layers")


class OptionABlock(nn.Module):
    """Two 3x3 convolutions; where the size changes, a shortcut without parameters.

    Option A of He et al. (2016), Sect. 4.2: stride by slicing, new channels filled with
    zeros, half on either side.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.filled = (channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.filled:
            x = F.pad(x, (0, 0, 0, 0, self.filled, self.filled))
        return F.relu(y + x, inplace=True)


class CifarResNet(nn.Module):
    """ResNet for 32-pixel images: 6n + 2 layers, widths 16, 32, 64, features of 64.

    The backbone of every CIFAR-LT number in the field.
    """

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.num_features = 64
        self.feature_info = [{"module": f"layer{stage}"} for stage in (1, 2, 3)]
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 64, H / 4, W / 4)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.layer3(self.layer2(self.layer1(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Maps -> features (B, 64), or logits (B, C)."""
        pooled = x.mean((2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, C)."""
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """The linear head."""
        return self.fc


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = OptionABlock(in_channels, channels, stride)
    rest = [OptionABlock(channels, channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def check_network(name: str) -> None:
    """Refuse a name that no network has.

    Raises BadInput: neither a CIFAR ResNet of 6n + 2 layers nor a timm network.
    """
    cifar = _CIFAR_RESNET.fullmatch(name)
    if cifar:
        if int(cifar[1]) >= 8 and (int(cifar[1]) - 2) % 6 == 0:
            return
        raise BadInput(
            "backbone.network: expected 6n + 2 layers (8, 14, 20, 32, ...), "
            f"got {name!r}"
        )
    import timm  # a second and a half to load: only where one is used

    architecture, _, tag = name.partition(".")
    names = timm.list_models(f"{architecture}.*", pretrained=True) if tag else []
    if not (name in names if tag else timm.is_model(name)):
        close = difflib.get_close_matches(name, names or timm.list_models(), n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise BadInput(
            f"backbone.network: expected a timm network or resnet32_cifar, "
            f"got {name!r}{meant}"
        )


def build_network(
    name: str, num_classes: int, pretrained: str | None, seed: int
) -> nn.Module:
    """Build a network with freshly drawn, or timm's pretrained, weights.

    The head of C classes is always drawn afresh.

    Raises BadInput: no such network, or its weights cannot be had.
    """
    check_network(name)
    if pretrained is not None and pretrained.split(".")[0] != name.split(".")[0]:
        raise BadInput(
            f"backbone.pretrained: expected weights of {name!r}, got {pretrained!r}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cifar = _CIFAR_RESNET.fullmatch(name)
        if cifar:
            return CifarResNet(int(cifar[1]), num_classes)
        import timm

        # timm starts each block's last batch-norm at zero; the paper's networks do not.
        fresh = {"zero_init_last": False} if name.startswith("resnet") else {}
        if pretrained is None:
            return timm.create_model(name, num_classes=num_classes, **fresh)
        try:
            return timm.create_model(
                pretrained, num_classes=num_classes, pretrained=True
            )
        except Exception as error:  # the hub raises kinds of its own
            raise BadInput(
                f"backbone.pretrained: timm could not load {pretrained!r} "
                f"({type(error).__name__}); give inputs.<benchmark>.checkpoint or "
                "inputs.<benchmark>.features instead"
            ) from None


def read_network(weights: Path, name: str, num_classes: int) -> nn.Module:
    """A network with the weights that the stage `backbone` wrote."""
    network = build_network(name, num_classes, None, seed=0)
    state = {
        key: torch.from_numpy(value) for key, value in read_arrays(weights).items()
    }
    network.load_state_dict(state)
    return network


def last_block(network: nn.Module) -> nn.Module:
    """The last block of the last stage, by the stages that timm names of a network.

    A transformer's block is a stage of its own.

    Raises BadInput: timm names no stages of this network.
    """
    named = [info["module"] for info in getattr(network, "feature_info", None) or ()]
    stages = [name for name in named if _STAGES.fullmatch(name.split(".")[0])]
    if not stages:
        raise BadInput(
            "paco.freeze: expected a network of stages, such as a ResNet, an "
            f"EfficientNet or a ViT, got {type(network).__name__}"
        )
    stage = network.get_submodule(stages[-1])
    blocks = getattr(stage, "blocks", stage)
    grouped = isinstance(blocks, nn.Sequential | nn.ModuleList)
    if grouped or type(stage).__name__.endswith("Stage"):
        return [*blocks.children()][-1]
    return stage


def features_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """Normalised (B, 3, H, W) -> pooled features (B, D) in front of the head."""
    return network.forward_head(network.forward_features(pixels), pre_logits=True)
