"""Weights that others released become weights of a network; nothing in them is run.

Five kinds of file are known by what they hold: PaCo's and Decouple's training states,
torchvision's and timm's flat weights, and what this suite's backbone stage writes.
"""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from replication.backbones.networks import build_network
from replication.core.files import BadInput, read_about, read_state

Source = Literal["PaCo", "Decouple", "torchvision", "timm", "ours"]
Weights = dict[str, Tensor]

_NAMED = 5
_COUNTER = "num_batches_tracked"
_VARIANCE = "running_var"
_REAL = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
# Below this share of keys that fit, a list of keys would hide what is wrong. The
# closest two ResNets, 101 and 152, share 67 %; a changed stem or head leaves over 95 %.
_SAME_NETWORK = 0.9
_PACO_TRAINING_ONLY = {
    "encoder_q.fc.": "projection, used by the contrastive loss only",
    "encoder_k.": "momentum copy of the encoder",
    "linear_k.": "momentum copy of the head",
    "queue": "queue of the contrastive loss",
}


@dataclass(frozen=True)
class Imported:
    """Weights that fit a network.

    Fields: `state` for `load_state_dict`, complete except for the head's two keys where
    `head` is None; `head` weight (C, D) and bias (C,) float32; `source` whose format;
    `ignored` a line for each group of keys left out, with the reason.
    """

    state: Weights
    head: tuple[Tensor, Tensor] | None
    source: Source
    ignored: tuple[str, ...]


def read_checkpoint(path: Path, network: str, num_classes: int) -> Imported:
    """Read released weights as weights of a network of `build_network`.

    Implements: Sect. 5, 6: the paper starts from released backbones. LWS's scale s of
    each class goes into the head: W <- s W, b <- s b.

    Args:
        path: .safetensors, or anything that `torch.save` wrote.
        network: the name that `build_network` gets.
        num_classes: C of the benchmark.

    Raises:
        BadInput: the file is missing, truncated or holds more than plain tensors; its
            weights are another network's, or its head has other classes; or a line for
            each of the first five keys that do not fit, and how many more there are.
    """
    path = Path(path)
    built = build_network(network, num_classes, None, seed=0)
    head = _head_name(path, network, built)
    content = _read(path)
    if path.suffix == ".safetensors" and _is_ours(path, network):
        found, source, ignored = dict(content), "ours", []
    else:
        found, source, ignored = _renamed(path, content, built, network, head)
    if not found:
        names = _listed(sorted(map(str, content))) or "nothing"
        raise BadInput(f"{path}: expected weights by name, got {names}")
    state = _fitted(path, found, built, network, head)
    weight, bias = state.get(f"{head}.weight"), state.get(f"{head}.bias")
    both = None if weight is None or bias is None else (weight, bias)
    return Imported(state, both, source, tuple(ignored))


# ---- Opening ------------------------------------------------------------------------


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        try:
            with safe_open(str(path), framework="pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise BadInput(f"{path}: expected a file, found nothing") from None
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{path}: expected safetensors, got {error}") from None
    try:
        content = read_state(path)
    except BadInput as error:
        cause = error.__context__
        refused = re.search(r"GLOBAL ([\w.]+)", str(cause))
        if refused is None and not isinstance(cause, pickle.UnpicklingError):
            raise
        needs = refused[1] if refused else "instructions that torch.save never writes"
        raise BadInput(
            f"{path}: expected a file of plain tensors, got one that needs {needs}; "
            "nothing in a file is run here: re-save its state_dict alone as "
            ".safetensors"
        ) from None
    if not isinstance(content, Mapping):
        raise BadInput(
            f"{path}: expected weights by name, got {type(content).__name__}"
        )
    return content


def _is_ours(path: Path, network: str) -> bool:
    """Whether this suite wrote the file; if so, it names the network it is of."""
    about = read_about(path)
    if not {"network", "classes"} <= about.keys():
        return False
    if _plain_name(str(about["network"])) != _plain_name(network):
        raise BadInput(
            f"{path}: backbone.network: expected weights of {network}, got those of "
            f"{about['network']}"
        )
    return True


def _plain_name(network: str) -> str:
    """A network's name without the tag of its pretrained weights."""
    return network.split(".")[0]


# ---- Recognising --------------------------------------------------------------------


def _renamed(
    path: Path, content: Mapping[str, Any], built: nn.Module, network: str, head: str
) -> tuple[Weights, Source, list[str]]:
    """The weights under the network's own names, whose format, and what was left."""
    chosen = {key: content.get(key) for key in ("state_dict_best", "state_dict")}
    for key, parts in (chosen | {"": content}).items():
        if isinstance(parts, Mapping) and isinstance(parts.get("feat_model"), Mapping):
            ignored = _others(content, "not of the chosen weights", key) if key else []
            known = ("feat_model", "classifier")
            ignored += _others(parts, "neither feat_model nor classifier", *known)
            return _from_decouple(parts, head), "Decouple", ignored
    wrapper = next(
        (key for key in ("state_dict", "model") if isinstance(content.get(key), dict)),
        None,
    )
    flat = content if wrapper is None else content[wrapper]
    ignored = _others(content, "not of the chosen weights", wrapper) if wrapper else []
    no_tensors = sorted(
        str(key) for key, value in flat.items() if not isinstance(value, Tensor)
    )
    ignored += [f"{key}: not a tensor" for key in no_tensors]
    weights = _stripped(flat)
    if any(name.startswith("encoder_q.") for name in weights):
        return _from_paco(weights, head, ignored)
    if "scales" in weights:
        return _scaled(weights, head), "Decouple", ignored
    return weights, _flat_source(path, flat, built, network), ignored


def _from_decouple(parts: Mapping[str, Any], head: str) -> Weights:
    classifier = parts.get("classifier")
    weights = _stripped(parts["feat_model"])
    named = _stripped(classifier) if isinstance(classifier, Mapping) else {}
    for name, value in named.items():
        kind, _, rest = name.partition(".")
        mine = {"fc": f"{head}.{rest}", "scales": "scales"}
        weights[mine.get(kind, f"classifier.{name}")] = value
    return _scaled(weights, head)


def _scaled(weights: Weights, head: str) -> Weights:
    """Fold LWS's scales (C,) into the head; left as they are where they do not fit."""
    weight, bias = weights.get(f"{head}.weight"), weights.get(f"{head}.bias")
    scales = weights.get("scales")
    if weight is None or bias is None or scales is None:
        return weights
    fitting = weight.ndim == 2 and weight.shape[:1] == bias.shape == scales.shape
    if not fitting or not all(map(_is_plain, (weight, bias, scales))):
        return weights
    rest = {name: value for name, value in weights.items() if name != "scales"}
    scaled = {f"{head}.weight": weight * scales[:, None], f"{head}.bias": bias * scales}
    return rest | scaled


def _from_paco(
    weights: Weights, head: str, ignored: list[str]
) -> tuple[Weights, Source, list[str]]:
    kept: Weights = {}
    left = dict.fromkeys(_PACO_TRAINING_ONLY, 0)
    for name, value in weights.items():
        unused = next((key for key in left if name.startswith(key)), None)
        if unused is not None:
            left[unused] += 1
        elif name.startswith("linear."):
            kept[f"{head}.{name.removeprefix('linear.')}"] = value
        else:
            kept[name.removeprefix("encoder_q.")] = value
    lines = [
        f"{key}* ({_counted(number, 'key')}): {_PACO_TRAINING_ONLY[key]}"
        for key, number in left.items()
        if number
    ]
    return kept, "PaCo", ignored + lines


def _flat_source(
    path: Path, flat: Mapping[str, Any], built: nn.Module, network: str
) -> Source:
    """torchvision or timm, whose ResNets have the same keys.

    A state dict remembers the modules it came from, those without weights too, and
    there the two differ. Where that memory is lost, the name that torchvision gives
    its files decides.
    """
    modules = getattr(flat, "_metadata", None)
    if isinstance(modules, Mapping) and modules:
        names = {str(name).removeprefix("module").removeprefix(".") for name in modules}
        return "timm" if names <= dict(built.named_modules()).keys() else "torchvision"
    given = rf"{re.escape(_plain_name(network))}-[0-9a-f]{{8}}"
    named = path.suffix == ".pth" and re.fullmatch(given, path.stem)
    return "torchvision" if named else "timm"


def _stripped(flat: Mapping[str, Any]) -> Weights:
    return {
        str(name).removeprefix("module."): value
        for name, value in flat.items()
        if isinstance(value, Tensor)
    }


def _others(content: Mapping[str, Any], reason: str, *used: str) -> list[str]:
    names = sorted(str(key) for key in content if key not in used)
    return [f"{name}: {reason}" for name in names]


# ---- Fitting ------------------------------------------------------------------------


def _head_name(path: Path, network: str, built: nn.Module) -> str:
    head = built.get_classifier()
    if not isinstance(head, nn.Linear) or head.bias is None:
        raise BadInput(
            f"{path}: backbone.network: expected a network whose head is one linear "
            f"layer with a bias, got {network} with {head}".replace("\n", " ")
        )
    return next(name for name, module in built.named_modules() if module is head)


def _fitted(
    path: Path, found: Weights, built: nn.Module, network: str, head: str
) -> Weights:
    """The weights in the network's own order and types, refused where they misfit."""
    expected: Weights = built.state_dict()
    of_head = (f"{head}.weight", f"{head}.bias")
    if not any(name in found for name in of_head):
        expected = {name: v for name, v in expected.items() if name not in of_head}
    # Counters of batches, which no network here makes use of: files from before 2018
    # lack them, and some writers know no array without an axis.
    counters = {name: v for name, v in expected.items() if name.endswith(_COUNTER)}
    flat = {k: found[k].reshape(()) for k in counters if _shape(found.get(k)) == (1,)}
    found = counters | found | flat
    body = (expected.keys() | found.keys()) - set(of_head)
    body = {name for name in body if not name.endswith(_COUNTER)}
    fitting = sum(_shape(expected.get(k)) == _shape(found.get(k)) for k in body)
    if fitting < _SAME_NETWORK * len(body):
        raise BadInput(_another_network(path, found, expected, sorted(body), network))
    other_classes = _other_classes(expected, found, of_head)
    names = [*expected, *(name for name in found if name not in expected)]
    if other_classes:
        names = [name for name in names if name not in of_head]
    misfits = (_misfit(path, n, expected.get(n), found.get(n)) for n in names)
    problems = [misfit for misfit in misfits if misfit is not None]
    if len(problems) > _NAMED:
        more = _counted(len(problems) - _NAMED, "more key")
        problems[_NAMED:] = [f"{path}: {more} of {len(found)} like these"]
    if other_classes:
        classes, rows = len(expected[of_head[0]]), len(found[of_head[0]])
        problems.append(
            f"{path}: expected a head of {_counted(classes, 'class')}, got one of "
            f"{rows}; a file without its head gives the backbone alone"
        )
    if problems:
        raise BadInput(problems)
    return {
        name: found[name].detach().to(value.dtype) for name, value in expected.items()
    }


def _other_classes(expected: Weights, found: Weights, of_head: tuple[str, str]) -> bool:
    """Whether the head fits but for its number of classes."""
    if not all(name in expected and name in found for name in of_head):
        return False
    weight, bias = (_shape(found[name]) for name in of_head)
    classes, dimension = _shape(expected[of_head[0]])
    rows = weight[0] if weight else classes
    return rows != classes and weight == (rows, dimension) and bias == (rows,)


def _misfit(
    path: Path, name: str, expected: Tensor | None, found: Tensor | None
) -> str | None:
    if expected is None or found is None or expected.shape != found.shape:
        want = "no such key" if expected is None else _shape(expected)
        got = "nothing" if found is None else _shape(found)
        return f"{path}: {name}: expected {want}, got {got}"
    if not _is_plain(found):
        return f"{path}: {name}: expected plain numbers, got {_kind(found)}"
    if expected.is_floating_point() and found.dtype not in _REAL:
        got = str(found.dtype).removeprefix("torch.")
        return f"{path}: {name}: expected floating-point numbers, got {got}"
    finite = found.to(expected.dtype).isfinite() if found.dtype in _REAL else None
    if finite is not None and not (finite & found.isfinite()).all():
        number = int((~(finite & found.isfinite())).sum())
        return f"{path}: {name}: expected finite numbers, got {number} NaN or infinite"
    if name.endswith(_VARIANCE) and (found < 0).any():
        return f"{path}: {name}: expected numbers of at least 0, got {found.min():g}"
    return None


def _is_plain(tensor: Tensor) -> bool:
    """Whether each number has its own place in memory: dense, whole, not expanded."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return False
    size = tensor.numel() * tensor.element_size()
    return size <= tensor.untyped_storage().nbytes()


def _kind(tensor: Tensor) -> str:
    if tensor.is_quantized:
        return "quantized ones"
    if tensor.is_meta:
        return "none: a tensor of the meta device"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    return "one number repeated"


def _another_network(
    path: Path, found: Weights, expected: Weights, body: list[str], network: str
) -> str:
    missing = [name for name in body if name not in found]
    unknown = [name for name in body if name not in expected]
    others = [
        name
        for name in body
        if name in found
        and name in expected
        and _shape(found[name]) != _shape(expected[name])
    ]
    first = (others or missing or unknown)[0]
    want = _shape(expected[first]) if first in expected else "no such key"
    got = _shape(found[first]) if first in found else "nothing"
    return (
        f"{path}: backbone.network: expected weights of {network}, got another "
        f"network's: {_counted(len(missing), 'key')} missing, {len(unknown)} unknown, "
        f"{len(others)} of another shape; {first}: expected {want}, got {got}"
    )


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def _counted(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{plural}"


def _listed(names: list[str]) -> str:
    rest = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join(names[:_NAMED] + rest)
