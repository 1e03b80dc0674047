"""DLSA: Flow Filters and classifiers chained; every sample is decided exactly once.

At depth m a filter is fitted to the training samples that remain. The share of them
with the highest log P(x) leaves, and with them each validation and test sample above
the same threshold; a cluster-aided classifier decides those. The rest go on; what is
left after the last filter, a plain classifier decides.

The protocols differ in which epoch of a filter is kept, and in the classifiers. The
first filter is trained once for both; a deeper one is trained once where both kept the
same epochs before it, so that the same samples remain.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from replication.classifiers.fitting import (
    FittedHead,
    Problem,
    Watched,
    fit_classifiers,
)
from replication.classifiers.heads import Rows, Term, drawn_term, predict
from replication.core.files import BadInput
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.flow_filter.fitting import (
    Fitted,
    Report,
    Trained,
    class_table,
    cluster_quality,
    fit_flow_filter,
    latents,
    read_clusters,
)
from replication.flow_filter.flow import FlowFilter
from replication.protocols import Given, Protocol, given_to_dlsa
from replication.samples.features import Samples
from replication.samples.shots import shot_groups

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Level:
    """One depth of the cascade.

    Fields: `fitted` filter; `threshold` of log P(x), nats; for each split, `remain`
    (n,) indices of the samples that reached this depth, `leave` (n,) bool of those, and
    of all its samples `cluster` (N,) and `log_likelihood` (N,), log P(x) in nats.
    """

    fitted: Fitted
    threshold: float
    remain: Mapping[str, Tensor]
    leave: Mapping[str, Tensor]
    cluster: Mapping[str, Tensor]
    log_likelihood: Mapping[str, Tensor]

    def leaving(self, split: str) -> Tensor:
        """Indices of the samples that this depth decides."""
        return self.remain[split][self.leave[split]]

    def staying(self, split: str) -> Tensor:
        """Indices of the samples that go on."""
        return self.remain[split][~self.leave[split]]


@dataclass(frozen=True)
class Chain:
    """The levels of one protocol, outermost first, and a diagnosis of each."""

    levels: list[Level]
    diagnoses: list[dict[str, Any]]

    @property
    def epochs(self) -> tuple[int, ...]:
        """Which epoch of each filter was kept."""
        return tuple(level.fitted.epoch for level in self.levels)


def fit_levels(
    splits: Mapping[str, Samples],
    num_classes: int,
    filter_settings: FilterSettings,
    settings: CascadeSettings,
    protocol: Protocol,
    seed: int,
) -> Chain:
    """Fit the filters of one protocol, as `fit_chains`."""
    given = (splits, num_classes, filter_settings, settings, [protocol], seed)
    return fit_chains(*given)[protocol.key]


def fit_chains(
    splits: Mapping[str, Samples],
    num_classes: int,
    filter_settings: FilterSettings,
    settings: CascadeSettings,
    protocols: Sequence[Protocol],
    seed: int,
    report: Report | None = None,
    resume: Path | None = None,
) -> dict[str, Chain]:
    """Fit the filters of each protocol from the outermost inwards.

    Implements: Sect. 5's released configuration: 30 % of the remaining training samples
    leave at each depth.

    Args:
        resume: folder of the state of each fit, a file `fit-<seed>-...` each: a call
            that was killed goes on from there.

    Raises:
        BadInput: too few classes or samples remain for a filter of this depth.
    """
    counts = splits["train"].labels.bincount(minlength=num_classes)
    everyone = {split: _everyone(part) for split, part in splits.items()}
    chains = {protocol.key: Chain([], []) for protocol in protocols}
    for depth in range(1, settings.depth + 1):
        trainings: dict[tuple[int, ...], Trained] = {}
        for protocol in protocols:
            chain = chains[protocol.key]
            remain = everyone
            if chain.levels:
                remain = {split: chain.levels[-1].staying(split) for split in splits}
            if chain.epochs not in trainings:
                given = (splits["train"], remain["train"], filter_settings)
                before = "".join(f"-{epoch}" for epoch in chain.epochs)
                state = resume and resume / f"fit-{seed}-{depth}{before}.pt"
                trainings[chain.epochs] = _train(*given, depth, seed, report, state)
            fitted = trainings[chain.epochs].at(protocol.filter_epoch)
            level = _level(fitted, splits, remain, settings.leaving_share)
            chain.levels.append(level)
            chain.diagnoses.append(diagnose(level, splits, counts, depth))
    return chains


def _train(
    train: Samples,
    rows: Tensor,
    settings: FilterSettings,
    depth: int,
    seed: int,
    report: Report | None,
    resume: Path | None,
) -> Trained:
    given = (train.features, train.labels, settings, seed * 1000 + depth, report)
    try:
        return fit_flow_filter(*given, rows=rows, resume=resume)
    except BadInput as error:
        raise BadInput(f"depth {depth}, seed {seed}: {error}") from None


def _level(
    fitted: Fitted,
    splits: Mapping[str, Samples],
    remain: Mapping[str, Tensor],
    leaving_share: float,
) -> Level:
    """Who leaves under a fitted filter."""
    readings = {
        split: read_clusters(fitted.flow, part.features)
        for split, part in splits.items()
    }
    likelihood = {split: reading.log_likelihood for split, reading in readings.items()}
    threshold = leaving_threshold(likelihood["train"][remain["train"]], leaving_share)
    leave = {split: likelihood[split][remain[split]] >= threshold for split in splits}
    cluster = {split: reading.cluster for split, reading in readings.items()}
    return Level(fitted, threshold, remain, leave, cluster, likelihood)


def _everyone(part: Samples) -> Tensor:
    return torch.arange(len(part.labels), device=part.labels.device)


def leaving_threshold(log_likelihood: Tensor, share: float) -> float:
    """The log-likelihood at and above which a share of these training samples leaves.

    It is the int(n (1 - share))-th smallest value, as the released code takes it.
    """
    index = int(len(log_likelihood) * (1 - share))
    return log_likelihood.sort().values[index].item()


def levels_as_arrays(
    levels: Sequence[Level],
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """What fitted levels need to be had again: arrays, and a few facts of each."""
    arrays: dict[str, Tensor] = {}
    for depth, level in enumerate(levels):
        for name, value in level.fitted.flow.state_dict().items():
            arrays[f"{depth}/flow/{name}"] = value
        for kind in ("remain", "leave", "cluster", "log_likelihood"):
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
    """Levels as they were before `levels_as_arrays`, without their histories."""
    levels = []
    for depth, fact in enumerate(facts):
        of_kind: dict[str, dict[str, Tensor]] = {}
        for name, array in arrays.items():
            place, kind, rest = name.split("/", 2)
            if int(place) == depth:
                value = torch.from_numpy(array.copy()).to(device)
                of_kind.setdefault(kind, {})[rest] = value
        state = of_kind.pop("flow")
        centres = state["base.centres"]
        flow = FlowFilter(centres.shape[1], len(centres), sigma, torch.Generator())
        flow.to(device, centres.dtype).load_state_dict(state)
        fitted = Fitted(flow.eval(), fact["epoch"], [])
        levels.append(Level(fitted, fact["threshold"], **of_kind))
    return levels


@dataclass(frozen=True)
class Part:
    """What one classifier is fitted to and decides.

    Fields: `where`: `depth m`, or `rest`; for each split `rows` of its samples and
    `inputs`, one a term; `seed` of the drawn terms and the order of samples.
    """

    where: str
    rows: Mapping[str, Tensor]
    inputs: Mapping[str, list[Rows]]
    seed: int

    def everyone(self, split: str) -> Tensor:
        """Positions of its samples of a split, (n,)."""
        rows = self.rows[split]
        return torch.arange(len(rows), device=rows.device)

    def inputs_of(self, split: str, given: Given) -> list[Rows]:
        """Those of [x], [z], [class frequencies] that a classifier is given."""
        wanted = (True, given.second, given.frequencies)
        pairs = zip(self.inputs[split], wanted, strict=False)
        return [rows for rows, asked in pairs if asked]

    def takes(self, given: Given, protocol: Protocol) -> Given:
        """What of it makes a difference here."""
        inputs = len(self.inputs["train"])
        second, frequencies = given.second and inputs > 1, inputs > 2
        frequencies = frequencies and given.frequencies
        of_all = protocol.removed_count and self.where == "rest"
        return Given(
            second,
            frequencies,
            given.own_prior and not of_all,
            given.drawn and (second or frequencies),
            given.trained,
        )


@dataclass(frozen=True)
class Decided:
    """What a chain of classifiers came to.

    Fields: `predicted` classes (N_test,); `notes`: what each classifier did.
    """

    predicted: Tensor
    notes: list[dict[str, Any]]


@dataclass(frozen=True)
class Classifiers:
    """What all classifiers of a protocol are fitted with.

    Fields: `head` that every first term starts from.
    """

    head: Term
    splits: Mapping[str, Samples]
    settings: ClassifierSettings
    protocol: Protocol

    def decide(
        self, levels: Sequence[Level], givens: Sequence[Given], seed: int
    ) -> list[Decided]:
        """Fit classifiers of every depth; each chain decides each test sample once."""
        nobody = torch.full_like(self.splits["test"].labels, -1)
        chains = [Decided(nobody.clone(), []) for _ in givens]
        for part in self.parts(levels, seed):
            decided = self._decide_part(part, givens)
            for chain, (answers, note) in zip(chains, decided, strict=True):
                chain.predicted[part.rows["test"]] = answers
                chain.notes.append(note)
        return chains

    def decide_as_dlsa(self, levels: Sequence[Level], seed: int) -> Decided:
        """Each test sample once, with what DLSA's classifiers are given."""
        [chain] = self.decide(levels, [given_to_dlsa(self.settings)], seed)
        return chain

    def parts(self, levels: Sequence[Level], seed: int) -> Iterator[Part]:
        """One a depth, then what is left: all samples where there is no level."""
        splits, protocol, classes = self.splits, self.protocol, len(self.head.weight)
        for depth, level in enumerate(levels, start=1):
            table = cluster_frequencies(level, splits["train"], classes, protocol)
            rows = {split: level.leaving(split) for split in splits}
            inputs = {
                split: aided_inputs(level, some, rows[split], split, table, protocol)
                for split, some in splits.items()
            }
            yield Part(f"depth {depth}", rows, inputs, seed * 1000 + depth)
        rows = {
            split: levels[-1].staying(split) if levels else _everyone(part)
            for split, part in splits.items()
        }
        inputs = {}
        for split, some in rows.items():
            x = Rows(splits[split].features, some)
            inputs[split] = [x, x] if protocol.rest_twice else [x]
        yield Part("rest", rows, inputs, seed * 1000)

    def fit(self, part: Part, given: Given) -> FittedHead:
        """Fit one classifier."""
        [fitted] = self._fit(part, [given]).values()
        return fitted

    def problem(self, part: Part, givens: Sequence[Given]) -> Problem:
        """Classifiers that see the same inputs: each first term from the head."""
        labels = {
            split: self.splits[split].labels[rows] for split, rows in part.rows.items()
        }
        counts, heads = [], []
        for given in givens:
            others = _drawn(part, self.head, given)
            heads.append([self.head, *(others if given.drawn else map(_zero, others))])
            own_prior = part.takes(given, self.protocol).own_prior
            counted = labels["train"] if own_prior else self.splits["train"].labels
            counts.append(counted.bincount(minlength=len(self.head.weight)))
        inputs = partial(part.inputs_of, given=givens[0])
        chosen_on = self.protocol.chosen_on
        return Problem(
            heads=heads,
            inputs=inputs("train"),
            labels=labels["train"],
            counts=torch.stack(counts),
            watched=Watched(inputs(chosen_on), labels[chosen_on]),
            seed=part.seed,
        )

    def _fit(self, part: Part, givens: Sequence[Given]) -> dict[Given, FittedHead]:
        """Fit what differs here; what sees the same inputs is fitted together."""
        alike: dict[tuple[bool, ...], list[Given]] = {}
        for given in dict.fromkeys(part.takes(some, self.protocol) for some in givens):
            inputs = given.second, given.frequencies, given.trained
            alike.setdefault(inputs, []).append(given)
        fitted: dict[Given, FittedHead] = {}
        for (*_, trained), group in alike.items():
            problem = self.problem(part, group)
            if trained:
                heads = fit_classifiers(problem, self.settings)
            else:
                heads = [FittedHead(terms, 0, {}) for terms in problem.heads]
            fitted |= zip(group, heads, strict=True)
        return fitted

    def _decide_part(
        self, part: Part, givens: Sequence[Given]
    ) -> list[tuple[Tensor, dict[str, Any]]]:
        """What each classifier answers (n_test,), and what it did."""
        labels = self.splits["test"].labels[part.rows["test"]]
        decided = {}
        for given, fitted in self._fit(part, givens).items():
            inputs = part.inputs_of("test", given)
            answers = predict(fitted.terms, inputs, part.everyone("test"))
            right = answers == labels
            decided[given] = (
                answers,
                {
                    "where": part.where,
                    "samples": {split: len(rows) for split, rows in part.rows.items()},
                    "epoch": fitted.epoch,
                    "accuracy": right.float().mean().item()
                    if len(right)
                    else float("nan"),
                    "moved": moved(fitted.terms, part, self.head, given),
                    "looks": {
                        str(epoch): share for epoch, share in fitted.looks.items()
                    },
                },
            )
        return [decided[part.takes(given, self.protocol)] for given in givens]


def cluster_frequencies(
    level: Level, train: Samples, num_classes: int, protocol: Protocol
) -> Tensor:
    """Class frequencies of each cluster, a (K, C) table; an empty cluster's row is 0.

    It is the third input of the cluster-aided classifier.
    """
    counted = _everyone(train) if protocol.removed_count else level.remain["train"]
    clusters = len(level.fitted.flow.base.centres)
    counts = class_table(
        level.cluster["train"][counted], train.labels[counted], clusters, num_classes
    ).to(train.features.dtype)
    return counts / counts.sum(1, keepdim=True).clamp_min(1)


def aided_inputs(
    level: Level,
    samples: Samples,
    rows: Tensor,
    split: str,
    table: Tensor,
    protocol: Protocol,
) -> list[Rows]:
    """[x], [z], [class frequencies]: a term each, so that nothing is concatenated."""
    x = Rows(samples.features, rows)
    frequencies = Rows(table, level.cluster[split][rows])
    if not protocol.latents:
        return [x, x, frequencies]
    return [x, Rows(latents(level.fitted.flow, samples.features, rows)), frequencies]


def _drawn(part: Part, head: Term, given: Given) -> list[Term]:
    """A classifier's terms beyond the first, as its seed draws them."""
    generator = torch.Generator().manual_seed(part.seed)
    others = part.inputs_of("train", given)[1:]
    return drawn_terms(others, len(head.weight), generator, head)


def _zero(term: Term) -> Term:
    bias = None if term.bias is None else torch.zeros_like(term.bias)
    return Term(torch.zeros_like(term.weight), bias)


def moved(terms: Sequence[Term], part: Part, head: Term, given: Given) -> list[float]:
    """How far each term of a fitted classifier went: |W - W0| / |W0|.

    Of a term that starts at zero |W| over what it would have been drawn at.
    """
    gone = []
    drawn = [head, *_drawn(part, head, given)]
    for number, (term, start) in enumerate(zip(terms, drawn, strict=True)):
        from_zero = number > 0 and not given.drawn
        way = term.weight if from_zero else term.weight - start.weight
        gone.append((way.norm() / start.weight.norm()).item())
    return gone


def drawn_terms(
    inputs: list[Rows], num_classes: int, generator: torch.Generator, head: Term
) -> list[Term]:
    """Terms beyond the first, drawn as the one layer on [z; p] of the released code.

    Their bounds follow the joint width; the one bias goes with the last of them.
    """
    widths = [rows.table.shape[1] for rows in inputs]
    bound = max(sum(widths), 1) ** -0.5
    return [
        drawn_term(
            num_classes, width, generator, head.weight, bound, place == len(widths)
        )
        for place, width in enumerate(widths, start=1)
    ]


def diagnose(
    level: Level,
    splits: Mapping[str, Samples],
    counts: Tensor,
    depth: int,
) -> dict:
    """What a filter did, for a reader who wants to know whether it separates.

    Of the samples that reached this depth; `counts` (C,) are of all training samples.
    `auroc_tail` is of log P(x) for Few against Many; what is of an empty group is NaN.
    """
    groups = shot_groups(counts.cpu().numpy())
    train = splits["train"]
    remain = level.remain["train"]
    clusters = len(level.fitted.flow.base.centres)
    quality = cluster_quality(
        level.cluster["train"][remain], train.labels[remain], clusters
    )
    by_split = {}
    for split, reached in level.remain.items():
        labels = splits[split].labels[reached].cpu().numpy()
        leave = level.leave[split].cpu().numpy()
        values = level.log_likelihood[split][reached].cpu().numpy()
        by_split[split] = {
            "samples": len(labels),
            "log_likelihood": _mean(values),
            "leaving": _mean(leave),
            "leaving_by_group": {
                name: _mean(leave[mask[labels]]) for name, mask in groups.items()
            },
            "auroc_tail": _auroc(values, labels, groups),
        }
    return {
        "depth": depth,
        "epoch": level.fitted.epoch,
        "epochs": len(level.fitted.history),
        "threshold": level.threshold,
        "clusters": clusters,
        **quality,
        "splits": by_split,
        "history": level.fitted.history,
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _auroc(
    values: np.ndarray, labels: np.ndarray, groups: Mapping[str, np.ndarray]
) -> float:
    """AUROC of the likelihood for Few (1) against Many (0); fraction."""
    few, many = (np.sort(values[groups[name][labels]]) for name in ("few", "many"))
    if not len(few) or not len(many):
        return float("nan")
    below = sum(np.searchsorted(many, few, side) for side in ("left", "right"))
    return float(below.mean() / (2 * len(many)))
