"""Draws of pairs, cluster tables, and the fit of a Flow Filter on toy data."""

import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import replication.flow_filter.fitting as fitting
from replication.core.files import BadInput
from replication.core.settings import FilterSettings
from replication.flow_filter.fitting import (
    PairDraws,
    cluster_quality,
    fit_flow_filter,
    latents,
    read_clusters,
)
from replication.flow_filter.flow import FlowFilter
from tests.made import generator
from tests.sections import checkout

# Classes 7 and 3 have one sample, class 0 many; classes are not contiguous.
LABELS = torch.tensor([0] * 40 + [7] + [2] * 5 + [0] * 20 + [3] + [9] * 12)


def filter_settings(**changes: float) -> FilterSettings:
    return checkout.FILTER.model_copy(update={"epochs": 4} | changes)


def toy(
    counts: tuple[int, ...] = (120, 60, 30), dimensions: int = 6
) -> tuple[Tensor, Tensor]:
    """Gaussian classes about centres of their own, (N, D) and (N,)."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    centres = 2 * torch.randn(len(counts), dimensions, generator=generator(1))
    noise = torch.randn(len(labels), dimensions, generator=generator(2))
    return centres[labels] + 0.5 * noise, labels


def equal_states(one: FlowFilter, other: FlowFilter) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, its) for mine, its in pairs)


# --- PairDraws


@pytest.mark.parametrize("batch_size", [3, 32, 1000])
def test_an_epoch_is_as_many_pairs_as_samples_in_even_batches(batch_size: int) -> None:
    """N pairs in ceil(N / B) batches, sizes at most B that differ by at most one."""
    batches = list(PairDraws(LABELS, generator()).epoch(batch_size))
    sizes = [len(positive) for positive, _, _ in batches]
    assert sum(sizes) == len(LABELS) == 79
    assert len(sizes) == -(-79 // batch_size)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size


def test_pairs_are_always_of_two_classes_and_positions_name_the_first() -> None:
    """x+ and x- differ in class; the position looks x+'s class up in `classes`."""
    draws = PairDraws(LABELS, generator())
    assert draws.classes.tolist() == [0, 2, 3, 7, 9]
    assert draws.counts.tolist() == [60, 5, 1, 1, 12]
    for _ in range(20):
        for positive, negative, position in draws.epoch(16):
            assert (LABELS[positive] != LABELS[negative]).all()
            assert torch.equal(draws.classes[position], LABELS[positive])


def many_pairs(labels: Tensor, epochs: int) -> tuple[Tensor, Tensor]:
    draws = PairDraws(labels, generator(3))
    batches = [pair for _ in range(epochs) for pair in draws.epoch(len(labels))]
    return torch.cat([a for a, _, _ in batches]), torch.cat([b for _, b, _ in batches])


def test_draws_are_uniform_over_ordered_pairs_of_classes() -> None:
    """Each of C (C - 1) ordered pairs has the same share, within 4.5 std. errors."""
    positive, negative = many_pairs(LABELS, 500)
    _, first = LABELS[positive].unique(return_inverse=True)
    _, second = LABELS[negative].unique(return_inverse=True)
    counts = (first * 5 + second).bincount(minlength=25).view(5, 5)
    assert (counts.diagonal() == 0).all()
    total, share = len(positive), 1 / 20
    error = (total * share * (1 - share)) ** 0.5
    off = counts[~torch.eye(5, dtype=torch.bool)]
    assert ((off - total * share).abs() < 4.5 * error).all()


def test_fewer_than_two_classes_are_refused(refused) -> None:
    assert refused(lambda: PairDraws(torch.tensor([3, 3, 3]), generator())) == [
        "filter: expected samples of at least 2 classes to draw pairs from, got 1; "
        "have fewer filters (cascade.depth), or let fewer samples leave at each "
        "(cascade.leaving_share)"
    ]


# --- Clusters


def test_cluster_quality_by_hand() -> None:
    """Purity above 0.7 and size above 10, both strictly.

    Cluster 0: 15 of 20 (0.75, counts). 1: 14 of 20 (exactly 0.7). 2: 10 of 10 (not
    above 10). 3: 11 of 11 (counts). 4: empty. Purity (15 + 14 + 10 + 11) / 61.
    """
    rows = {0: (15, 5), 1: (6, 14), 2: (10, 0), 3: (0, 11)}
    pairs = [
        (cluster, label)
        for cluster, row in rows.items()
        for label, count in enumerate(row)
        for _ in range(count)
    ]
    cluster, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    quality = cluster_quality(cluster, labels, 5)
    assert quality.pop("purity") == pytest.approx(50 / 61, abs=1e-6)
    assert quality == {"pure_clusters": 2, "empty_clusters": 1, "largest": 20}


def test_reading_is_the_flows_own_word_whatever_the_batch(monkeypatch) -> None:
    """log P(x) and argmax P(h | x) of each sample; batches leave no trace."""
    features, labels = toy()
    flow = fit_flow_filter(features, labels, filter_settings(epochs=1), 0).last.flow
    whole = read_clusters(flow, features)
    density = flow(features)
    assert torch.equal(whole.cluster, density.log_posterior.argmax(1))
    torch.testing.assert_close(whole.log_likelihood, density.log_likelihood)
    monkeypatch.setattr(fitting, "_READ_BATCH", 17)
    parts = read_clusters(flow, features)
    torch.testing.assert_close(parts.log_likelihood, whole.log_likelihood)
    assert torch.equal(parts.cluster, whole.cluster)
    torch.testing.assert_close(latents(flow, features), density.latent)


# --- fit_flow_filter


def test_fit_follows_its_seed_and_no_global_state() -> None:
    """Same seed, same filter, bit for bit; another seed, another filter."""
    features, labels = toy()
    settings = filter_settings(epochs=2)
    first = fit_flow_filter(features, labels, settings, 11).last
    torch.rand(5)
    again = fit_flow_filter(features, labels, settings, 11).last
    other = fit_flow_filter(features, labels, settings, 12).last
    assert equal_states(first.flow, again.flow)
    assert first.history == again.history
    assert not equal_states(first.flow, other.flow)


def test_likelihood_grows_and_its_loss_falls() -> None:
    """On balanced toy data the filter learns the density it is fitted to."""
    features, labels = toy((80, 80, 80))
    fitted = fit_flow_filter(
        features, labels, filter_settings(epochs=15, lambda_pure=0.0), 0
    )
    history = fitted.last.history
    assert len(history) == 15
    assert history[-1]["loss_mle"] < history[1]["loss_mle"] < history[0]["loss_mle"]
    # Epoch 3 on: by then the running statistics of batch-norm have settled.
    assert history[-1]["log_likelihood"] > history[2]["log_likelihood"] + 0.5


def script(
    monkeypatch: pytest.MonkeyPatch, pure: list[int], largest: list[int]
) -> None:
    """Make the epochs' cluster qualities what they are said to be."""
    rows: Iterator[dict[str, float]] = iter(
        [
            {"pure_clusters": a, "empty_clusters": 0, "largest": b, "purity": 0.5}
            for a, b in zip(pure, largest, strict=True)
        ]
    )
    monkeypatch.setattr(fitting, "cluster_quality", lambda *_: next(rows))


@pytest.mark.parametrize(
    ("pure", "largest", "kept"),
    [
        ([1, 3, 3, 2], [10, 10, 10, 10], 2),  # most, and the first of equals
        ([1, 2, 3, 4], [10, 4999, 5000, 5000], 2),  # only below 5000
        ([4, 3, 2, 1], [5000, 5000, 5000, 5000], 4),  # none qualifies: the last
    ],
)
def test_one_training_gives_its_last_and_its_purest_epoch(
    monkeypatch, pure: list[int], largest: list[int], kept: int
) -> None:
    """The purest epoch is the rule's; the weights are each epoch's, in eval mode."""
    features, labels = toy()
    script(monkeypatch, pure, largest)
    trained = fit_flow_filter(features, labels, filter_settings(epochs=4), 0)
    fitted = trained.at("purest")
    assert (fitted.epoch, trained.at("last").epoch) == (kept, 4)
    assert (trained.last is trained.purest) == (kept == 4)
    assert [row["pure_clusters"] for row in fitted.history] == pure
    assert not any(module.training for module in fitted.flow.modules())
    for some in (trained.last, trained.purest):  # as if it had ended there
        script(monkeypatch, [0] * some.epoch, [10] * some.epoch)
        shorter = filter_settings(epochs=some.epoch)
        stopped = fit_flow_filter(features, labels, shorter, 0).last
        assert equal_states(some.flow, stopped.flow)


@pytest.mark.parametrize("killed_in", [0, 1, 3])
@pytest.mark.parametrize("pure", [[1, 3, 3, 2], [1, 2, 3, 4]])
def test_a_killed_fit_goes_on_as_if_it_had_not_been(
    monkeypatch, tmp_path, pure: list[int], killed_in: int
) -> None:
    """Both epochs' weights to the bit, and every metric; a finished one is read."""
    features, labels = toy()
    settings, file = filter_settings(epochs=4), tmp_path / "fit.pt"
    given = (features, labels, settings, 5)
    monkeypatch.setattr(fitting, "_SAVE_EVERY", -1)
    script(monkeypatch, pure, [10] * 4)
    undisturbed = fit_flow_filter(*given)

    def kill(epoch: int, *_: object) -> None:
        if epoch == killed_in:
            raise KeyboardInterrupt

    script(monkeypatch, pure, [10] * 4)
    with pytest.raises(KeyboardInterrupt):
        fit_flow_filter(*given, kill, resume=file)
    script(monkeypatch, pure[killed_in:], [10] * (4 - killed_in))
    fit_flow_filter(*given, resume=file)
    script(monkeypatch, [], [])
    read = fit_flow_filter(*given, resume=file)
    for epoch in ("last", "purest"):
        before, after = undisturbed.at(epoch), read.at(epoch)
        assert equal_states(before.flow, after.flow)
        assert (before.epoch, before.history) == (after.epoch, after.history)


NUMBER = r"(-?\d[\d.]*(e[+-]?\d+)?|nan|-?inf)"
LOSSES = rf"\{{'loss_mle': {NUMBER}, 'loss_bal': {NUMBER}, 'loss_pure': {NUMBER}\}}"


def test_loss_that_is_not_finite_is_refused_with_its_epoch() -> None:
    """A step of 1e9 breaks the second batch of the first epoch."""
    features, labels = toy()
    with pytest.raises(BadInput) as refusal:
        fit_flow_filter(features, labels, filter_settings(lr=1e9), 0)
    assert re.fullmatch(
        rf"filter: the loss is not finite in epoch 1, step \d+ \({LOSSES}\); "
        "a smaller filter.lr may help",
        str(refusal.value),
    )
