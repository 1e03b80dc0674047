"""DLSA: Flow Filters and classifiers chained; every sample is decided exactly once.

At depth m a filter is fitted to the training samples that remain. The share of them
with the highest log P(x) leaves, and with them each validation and test sample above
the same threshold; a cluster-aided classifier decides those. The rest go on; what is
left after the last filter, a plain classifier decides.

Filters and thresholds are the same under both protocols, so they are fitted once and
shared; the protocols differ in the classifiers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from replication.classifiers.fitting import FittedHead, Watched, fit_classifier
from replication.classifiers.heads import (
    AnyTerm,
    Rows,
    Term,
    drawn_table_term,
    drawn_term,
    predict,
)
from replication.data.longtail import shot_groups
from replication.files import BadInput
from replication.flow_filter.fitting import (
    Fitted,
    Report,
    class_table,
    cluster_quality,
    fit_flow_filter,
    latents,
    read_clusters,
)
from replication.settings import CascadeSettings, ClassifierSettings, FilterSettings

Protocol = Literal["paper", "released_code"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "released_code")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Samples:
    """One split on the device: features (N, D) float32, labels (N,) int64."""

    features: Tensor
    labels: Tensor


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


def decide(
    levels: list[Level],
    splits: Mapping[str, Samples],
    num_classes: int,
    head: Term,
    settings: ClassifierSettings,
    protocol: Protocol,
    seed: int,
) -> tuple[Tensor, list[dict]]:
    """Fit the classifiers of every depth and predict each test sample once.

    Implements: the cascade's two protocols. `paper`: inputs [x; z; class frequencies of
    x's cluster among the samples that remain], priors from the samples a classifier is
    fitted to, epochs chosen on validation samples or else the last. `released_code`:
    z = x, cluster frequencies that still count removed samples, the final prior from
    all training labels, and the epoch chosen on the test samples.

    Args:
        head: the Balanced Softmax head that every first term starts from.
        protocol: which of the two.
        seed: of the second terms and the order of samples.

    Returns:
        (N_test,) predicted class, and what each classifier did.
    """
    test = splits["test"]
    everyone = splits["train"].labels.bincount(minlength=num_classes)
    predicted = torch.full_like(test.labels, -1)
    notes = []
    for depth, level in enumerate(levels, start=1):
        table = cluster_frequencies(level, splits["train"], num_classes, protocol)
        parts = {split: level.leaving(split) for split in splits}
        inputs = {
            split: aided_inputs(level, splits[split], parts[split], split, table,
                                 protocol)
            for split in splits
        }  # fmt: skip
        fitted = _fit(
            inputs, splits, parts, head, settings, protocol, seed * 1000 + depth, None
        )
        predicted[parts["test"]] = _predict(fitted, inputs["test"], parts["test"])
        notes.append(_note(f"depth {depth}", fitted, parts, splits, predicted))
    parts = {split: levels[-1].staying(split) for split in splits}
    inputs = {
        split: _plain_inputs(splits[split], parts[split], protocol) for split in splits
    }
    prior = everyone if protocol == "released_code" else None
    fitted = _fit(inputs, splits, parts, head, settings, protocol, seed * 1000, prior)
    predicted[parts["test"]] = _predict(fitted, inputs["test"], parts["test"])
    notes.append(_note("rest", fitted, parts, splits, predicted))
    return predicted, notes


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
    ).to(train.features)
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


def _fit(
    inputs: Mapping[str, list[Rows]],
    splits: Mapping[str, Samples],
    parts: Mapping[str, Tensor],
    head: Term,
    settings: ClassifierSettings,
    protocol: Protocol,
    seed: int,
    prior_counts: Tensor | None,
) -> FittedHead:
    """Fit one classifier: the first term from the head, the others drawn."""
    labels = {split: splits[split].labels[parts[split]] for split in splits}
    num_classes = len(head.weight)
    generator = torch.Generator().manual_seed(seed)
    drawn = drawn_terms(inputs["train"][1:], num_classes, generator, head)
    terms = [head.clone(), *drawn]
    if prior_counts is None:
        prior_counts = labels["train"].bincount(minlength=num_classes)
    chosen_on = "val" if protocol == "paper" else "test"
    watched = Watched(inputs[chosen_on], labels[chosen_on])
    return fit_classifier(
        terms, inputs["train"], labels["train"], prior_counts, settings, watched, seed
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


def _predict(fitted: FittedHead, inputs: list[Rows], rows: Tensor) -> Tensor:
    samples = torch.arange(len(rows), device=rows.device)
    return predict(fitted.terms, inputs, samples)


def _note(
    where: str,
    fitted: FittedHead,
    parts: Mapping[str, Tensor],
    splits: Mapping[str, Samples],
    predicted: Tensor,
) -> dict:
    mine = parts["test"]
    right = predicted[mine] == splits["test"].labels[mine]
    return {
        "where": where,
        "samples": {split: len(rows) for split, rows in parts.items()},
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
