"""DLSA: Flow Filters and classifiers chained; every sample is decided exactly once.

At depth m a filter is fitted to the training samples that remain. The share of them
with the highest log P(x) leaves, and with them each validation and test sample above
the same threshold; a cluster-aided classifier decides those. The rest go on; what is
left after the last filter, a plain classifier decides.

Filters and thresholds are the same under both protocols, so they are fitted once and
shared; the protocols differ in the classifiers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from replication.classifiers.fitting import (
    FittedHead,
    Problem,
    Watched,
    fit_classifiers,
)
from replication.classifiers.heads import (
    AnyTerm,
    Rows,
    Term,
    drawn_table_term,
    drawn_term,
    predict,
)
from replication.core.files import BadInput
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.flow_filter.fitting import (
    Fitted,
    Report,
    class_table,
    cluster_quality,
    fit_flow_filter,
    latents,
    read_clusters,
)
from replication.flow_filter.flow import FlowFilter
from replication.samples.features import Samples
from replication.samples.shots import shot_groups

Protocol = Literal["paper", "released_code"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "released_code")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Level:
    """One depth of the cascade.

    Fields: `fitted` filter; `threshold` of log P(x), nats; for each split, `remain`
    (n,) indices of the samples that reached this depth, `leave` (n,) bool of those, and
    `cluster` (N,) of all samples of the split.
    """

    fitted: Fitted
    threshold: float
    remain: Mapping[str, Tensor]
    leave: Mapping[str, Tensor]
    cluster: Mapping[str, Tensor]

    def leaving(self, split: str) -> Tensor:
        """Indices of the samples that this depth decides."""
        return self.remain[split][self.leave[split]]

    def staying(self, split: str) -> Tensor:
        """Indices of the samples that go on."""
        return self.remain[split][~self.leave[split]]


def fit_levels(
    splits: Mapping[str, Samples],
    num_classes: int,
    filter_settings: FilterSettings,
    settings: CascadeSettings,
    seed: int,
    report: Report | None = None,
) -> tuple[list[Level], list[dict]]:
    """Fit the filters from the outermost inwards.

    Implements: the cascade of Sect. 5's released configuration: 30 % of the remaining
    training samples leave at each depth.

    Args:
        splits: train, val (may be empty) and test.
        num_classes: C.
        seed: of the filters; depth m uses a seed of its own.

    Returns:
        A level for each depth, and a diagnosis of each.

    Raises:
        BadInput: too few classes or samples remain for a filter of this depth.
    """
    counts = splits["train"].labels.bincount(minlength=num_classes)
    remain = {
        split: torch.arange(len(part.labels), device=part.labels.device)
        for split, part in splits.items()
    }
    levels, diagnoses = [], []
    for depth in range(1, settings.depth + 1):
        mine = remain["train"]
        try:
            fitted = fit_flow_filter(
                splits["train"].features,
                splits["train"].labels,
                filter_settings,
                seed * 1000 + depth,
                report,
                rows=mine,
            )
        except BadInput as error:
            raise BadInput(f"depth {depth}, seed {seed}: {error}") from None
        readings = {
            split: read_clusters(fitted.flow, part.features)
            for split, part in splits.items()
        }
        threshold = leaving_threshold(
            readings["train"].log_likelihood[mine], settings.leaving_share
        )
        level = Level(
            fitted=fitted,
            threshold=threshold,
            remain=remain,
            leave={
                split: reading.log_likelihood[remain[split]] >= threshold
                for split, reading in readings.items()
            },
            cluster={split: reading.cluster for split, reading in readings.items()},
        )
        likelihoods = {
            split: reading.log_likelihood[remain[split]]
            for split, reading in readings.items()
        }
        levels.append(level)
        diagnoses.append(diagnose(level, likelihoods, splits, counts, depth))
        remain = {split: level.staying(split) for split in splits}
    return levels, diagnoses


def leaving_threshold(log_likelihood: Tensor, share: float) -> float:
    """The log-likelihood at and above which samples leave.

    Args:
        log_likelihood: (n,) of the training samples that remain, nats.
        share: of them that is to leave, in (0, 1).

    Returns:
        The int(n (1 - share))-th smallest value, as the released code takes it.
    """
    index = int(len(log_likelihood) * (1 - share))
    return log_likelihood.sort().values[index].item()


def levels_as_arrays(
    levels: Sequence[Level],
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """What must be kept of fitted levels to have them again: arrays, and facts each."""
    arrays: dict[str, Tensor] = {}
    for depth, level in enumerate(levels):
        for name, value in level.fitted.flow.state_dict().items():
            arrays[f"{depth}/flow/{name}"] = value
        for kind in ("remain", "leave", "cluster"):
            for split, value in getattr(level, kind).items():
                arrays[f"{depth}/{kind}/{split}"] = value
    return arrays, [
        {"threshold": level.threshold, "epoch": level.fitted.epoch} for level in levels
    ]


def levels_from_arrays(
    arrays: Mapping[str, np.ndarray],
    facts: Sequence[Mapping[str, Any]],
    sigma: float,
    device: torch.device,
) -> list[Level]:
    """Levels as they were before `levels_as_arrays`, without their histories.

    Args:
        sigma: with which they were fitted.
    """
    levels = []
    for depth, fact in enumerate(facts):
        mine: dict[str, dict[str, Tensor]] = {}
        for name, array in arrays.items():
            place, kind, rest = name.split("/", 2)
            if int(place) == depth:
                found = torch.from_numpy(array.copy()).to(device)
                mine.setdefault(kind, {})[rest] = found
        centres = mine["flow"]["base.centres"]
        flow = FlowFilter(centres.shape[1], len(centres), sigma, torch.Generator()).to(
            device, centres.dtype
        )
        flow.load_state_dict(mine["flow"])
        levels.append(
            Level(
                Fitted(flow.eval(), fact["epoch"], []),
                fact["threshold"],
                mine["remain"],
                mine["leave"],
                mine["cluster"],
            )
        )
    return levels


@dataclass(frozen=True)
class SeedRun:
    """One seed's fitted filters and what its classifiers start from.

    Fields: `head`: the Balanced Softmax head that every first term starts from; `seed`
    of the second terms and the order of samples.
    """

    levels: list[Level]
    head: Term
    seed: int


@dataclass(frozen=True)
class _Part:
    """What one classifier is fitted to and decides: for each split inputs and rows."""

    where: str
    inputs: Mapping[str, list[Rows]]
    rows: Mapping[str, Tensor]
    seed: int


def decide(
    levels: list[Level],
    splits: Mapping[str, Samples],
    num_classes: int,
    head: Term,
    settings: ClassifierSettings,
    protocol: Protocol,
    seed: int,
) -> tuple[Tensor, list[dict]]:
    """As `decide_each`, for one seed."""
    runs = [SeedRun(levels, head, seed)]
    return decide_each(runs, splits, num_classes, settings, protocol)[0]


def decide_each(
    runs: Sequence[SeedRun],
    splits: Mapping[str, Samples],
    num_classes: int,
    settings: ClassifierSettings,
    protocol: Protocol,
) -> list[tuple[Tensor, list[dict]]]:
    """Fit the classifiers of every depth and predict each test sample once.

    Implements: the cascade's two protocols. `paper`: inputs [x; z; class frequencies of
    x's cluster among the samples that remain], priors from the samples a classifier is
    fitted to, epochs chosen on validation samples or else the last. `released_code`:
    z = x, cluster frequencies that still count removed samples, the final prior from
    all training labels, and the epoch chosen on the test samples.

    Args:
        runs: of equal depth; classifiers of one depth are fitted side by side where
            that is faster.
        protocol: which of the two.

    Returns:
        For each run (N_test,) predicted class, and what each classifier did.
    """
    test = splits["test"]
    predicted = [torch.full_like(test.labels, -1) for _ in runs]
    notes: list[list[dict]] = [[] for _ in runs]
    for number in range(len(runs[0].levels) + 1):
        parts = [
            classifier_part(run, number, splits, num_classes, protocol) for run in runs
        ]
        problems = [
            classifier_problem(part, run.head, splits, protocol)
            for part, run in zip(parts, runs, strict=True)
        ]
        fitted = fit_classifiers(problems, settings)
        for part, one, mine, said in zip(parts, fitted, predicted, notes, strict=True):
            rows = part.rows["test"]
            everyone = torch.arange(len(rows), device=rows.device)
            mine[rows] = predict(one.terms, part.inputs["test"], everyone)
            said.append(_note(part, one, splits, mine))
    return list(zip(predicted, notes, strict=True))


def classifier_part(
    run: SeedRun,
    number: int,
    splits: Mapping[str, Samples],
    num_classes: int,
    protocol: Protocol,
) -> _Part:
    """Of a depth, counted from 0, or what is left after the last one."""
    if number == len(run.levels):
        rows = {split: run.levels[-1].staying(split) for split in splits}
        inputs = {
            split: _plain_inputs(splits[split], rows[split], protocol)
            for split in splits
        }
        return _Part("rest", inputs, rows, run.seed * 1000)
    level, depth = run.levels[number], number + 1
    table = cluster_frequencies(level, splits["train"], num_classes, protocol)
    rows = {split: level.leaving(split) for split in splits}
    inputs = {
        split: aided_inputs(level, splits[split], rows[split], split, table, protocol)
        for split in splits
    }
    return _Part(f"depth {depth}", inputs, rows, run.seed * 1000 + depth)


def cluster_frequencies(
    level: Level, train: Samples, num_classes: int, protocol: Protocol
) -> Tensor:
    """Class frequencies of each cluster, a (K, C) table; an empty cluster's row is 0.

    Implements: the third input of the cluster-aided classifier. `paper` counts the
    samples that remain; `released_code` all training samples.
    """
    counted = (
        level.remain["train"]
        if protocol == "paper"
        else torch.arange(len(train.labels), device=train.labels.device)
    )
    clusters = len(level.fitted.flow.base.centres)
    counts = class_table(
        level.cluster["train"][counted], train.labels[counted], clusters, num_classes
    ).to(train.features.dtype)
    return counts / counts.sum(1, keepdim=True).clamp_min(1)


def aided_inputs(
    level: Level,
    part: Samples,
    rows: Tensor,
    split: str,
    table: Tensor,
    protocol: Protocol,
) -> list[Rows]:
    """[x], [z], [class frequencies]: a term each, so that nothing is concatenated."""
    x = Rows(part.features, rows)
    frequencies = Rows(table, level.cluster[split][rows])
    if protocol == "released_code":
        return [x, x, frequencies]
    return [x, Rows(latents(level.fitted.flow, part.features, rows)), frequencies]


def _plain_inputs(part: Samples, rows: Tensor, protocol: Protocol) -> list[Rows]:
    x = Rows(part.features, rows)
    return [x, x] if protocol == "released_code" else [x]


def classifier_problem(
    part: _Part, head: Term, splits: Mapping[str, Samples], protocol: Protocol
) -> Problem:
    """One classifier to be fitted: the first term from the head, the others drawn."""
    labels = {split: splits[split].labels[rows] for split, rows in part.rows.items()}
    num_classes = len(head.weight)
    generator = torch.Generator().manual_seed(part.seed)
    drawn = drawn_terms(part.inputs["train"][1:], num_classes, generator, head)
    everyone = protocol == "released_code" and part.where == "rest"
    counted = splits["train"].labels if everyone else labels["train"]
    chosen_on = "val" if protocol == "paper" else "test"
    return Problem(
        terms=[head.clone(), *drawn],
        inputs=part.inputs["train"],
        labels=labels["train"],
        counts=counted.bincount(minlength=num_classes),
        watched=Watched(part.inputs[chosen_on], labels[chosen_on]),
        seed=part.seed,
    )


def drawn_terms(
    inputs: list[Rows], num_classes: int, generator: torch.Generator, head: Term
) -> list[AnyTerm]:
    """Terms beyond the first, drawn as the one layer on [z; p] of the released code.

    Their bounds follow the joint width; the one bias goes with the last of them. A
    table that is wider than long, and whose rows samples share, is kept as its logits.
    """
    bound = max(sum(rows.table.shape[1] for rows in inputs), 1) ** -0.5
    terms: list[AnyTerm] = []
    for rows in inputs:
        last = rows is inputs[-1]
        length, width = rows.table.shape
        if rows.pick is not None and length < min(width, len(rows.pick)):
            term = drawn_table_term(num_classes, rows.table, bound, last, generator)
        else:
            term = drawn_term(num_classes, width, generator, head.weight, bound, last)
        terms.append(term)
    return terms


def _note(
    part: _Part, fitted: FittedHead, splits: Mapping[str, Samples], predicted: Tensor
) -> dict:
    mine = part.rows["test"]
    right = predicted[mine] == splits["test"].labels[mine]
    return {
        "where": part.where,
        "samples": {split: len(rows) for split, rows in part.rows.items()},
        "epoch": fitted.epoch,
        "accuracy": right.float().mean().item() if len(mine) else float("nan"),
        "looks": {str(epoch): share for epoch, share in fitted.looks.items()},
    }


def diagnose(
    level: Level,
    likelihoods: Mapping[str, Tensor],
    splits: Mapping[str, Samples],
    counts: Tensor,
    depth: int,
) -> dict:
    """What a filter did, for a reader who wants to know whether it separates.

    Args:
        likelihoods: split -> (n,) log P(x) of the samples that reached this depth.
        counts: (C,) training samples of each class.

    Returns:
        Chosen epoch, threshold, cluster sizes and purity on train, and for each split
        the mean log-likelihood, the share of each shot group that leaves, and the AUROC
        of log P(x) for tail (Few) against head (Many); NaN where a group is empty.
    """
    groups = shot_groups(counts.cpu().numpy())
    train = splits["train"]
    remain = level.remain["train"]
    clusters = len(level.fitted.flow.base.centres)
    quality = cluster_quality(
        level.cluster["train"][remain], train.labels[remain], clusters
    )
    sizes = level.cluster["train"][remain].bincount(minlength=clusters).cpu().numpy()
    by_split = {}
    for split, likelihood in likelihoods.items():
        labels = splits[split].labels[level.remain[split]].cpu().numpy()
        leave = level.leave[split].cpu().numpy()
        values = likelihood.cpu().numpy()
        by_split[split] = {
            "samples": len(labels),
            "log_likelihood": float(values.mean()) if len(values) else float("nan"),
            "leaving": float(leave.mean()) if len(leave) else float("nan"),
            "leaving_by_group": {
                name: _mean(leave[mask[labels]]) for name, mask in groups.items()
            },
            "auroc_tail": _auroc(values, labels, groups),
        }
    return {
        "depth": depth,
        "epoch": level.fitted.epoch,
        "threshold": level.threshold,
        "clusters": clusters,
        **quality,
        "size_quartiles": np.quantile(sizes, [0, 0.25, 0.5, 0.75, 1]).tolist(),
        "splits": by_split,
        "history": level.fitted.history,
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _auroc(
    values: np.ndarray, labels: np.ndarray, groups: Mapping[str, np.ndarray]
) -> float:
    """AUROC of the likelihood for Few (1) against Many (0); fraction."""
    tail, head = groups["few"][labels], groups["many"][labels]
    either = tail | head
    if not tail.any() or not head.any():
        return float("nan")
    return float(roc_auc_score(tail[either], values[either]))
