"""Fig. 2's experiment: who goes where, what each group learns, what is said of it."""

import math

import numpy as np
import pytest
import torch

from replication.core.settings import Fig2Settings
from replication.images.batches import ImageSplit
from replication.samples.features import Samples, Streamed
from replication.sections.separation.experiment import (
    LinearClassifiers,
    Networks,
    accuracy_cells,
    fit_linear,
    fits_of,
    head_classes,
    larger_p_claims,
    predict,
    route,
    route_splits,
    step_cells,
)
from tests.made import basis

COUNTS = np.array([10, 300, 101, 100, 20, 19, 50])


def fig2_settings(**changes: object) -> Fig2Settings:
    plain = {
        "inputs": "images",
        "network": "resnet8_cifar",
        "probabilities": [0.5, 1.0],
        "boundaries": ["half_classes"],
        "candidates": "all",
        "epochs": 2,
        "linear_epochs": 20,
        "lr": 0.003,
        "batch_size": 16,
    }
    return Fig2Settings(**(plain | changes))


def coins(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- who goes where


@pytest.mark.parametrize(
    ("boundary", "head"),
    [
        ("many", [1, 2]),  # more than 100: a class of 100 is not
        ("many_medium", [1, 2, 3, 4, 6]),  # at least 20: a class of 20 is
        ("half_classes", [1, 2, 3]),  # 3 of 7
        ("half_images", [1]),  # 300 of 600 is half
    ],
)
def test_head_classes_by_hand(boundary, head) -> None:
    assert np.flatnonzero(head_classes(COUNTS, boundary)).tolist() == head


@pytest.mark.parametrize(
    ("counts", "boundary", "number"),
    [([100, 50], "many", 0), ([30, 20], "many_medium", 2)],
)
def test_a_boundary_with_one_side_empty_is_refused(
    refused, counts, boundary, number
) -> None:
    problems = refused(lambda: head_classes(np.array(counts), boundary))
    assert problems == [
        f"fig2.boundaries: {boundary}: expected head and tail classes, got {number} "
        "head classes of 2"
    ]


def test_shares_of_the_groups_are_p_and_one_minus_p() -> None:
    labels = torch.arange(2).repeat(20_000)
    groups = route(labels, torch.tensor([True, False]), 0.8, coins())
    # Four standard deviations of a share of 20,000 coins.
    reach = 4 * math.sqrt(0.8 * 0.2 / 20_000)
    assert (groups[labels == 0] == 0).float().mean() == pytest.approx(0.8, abs=reach)
    assert (groups[labels == 1] == 0).float().mean() == pytest.approx(0.2, abs=reach)


def test_at_p_one_half_the_class_plays_no_part() -> None:
    labels = torch.randint(5, (5000,), generator=coins(1))
    ways = [torch.tensor([True, False, True, False, False]), torch.arange(5) < 4]
    first, second = (route(labels, head, 0.5, coins()) for head in ways)
    assert torch.equal(first, second) and 0 < first.sum() < 5000


def test_raising_p_moves_samples_to_their_own_side_and_none_back() -> None:
    labels = torch.randint(4, (5000,), generator=coins(1))
    head = torch.tensor([True, True, False, False])
    own_side = (~head)[labels].long()
    before = torch.zeros(5000, dtype=torch.bool)
    for p in (0.5, 0.6, 0.8, 1.0):
        right = route(labels, head, p, coins()) == own_side
        assert right[before].all() and right.sum() > before.sum()
        before = right
    assert before.all()


def test_train_and_test_have_coins_of_their_own_and_a_seed_fixes_both() -> None:
    labels, head = torch.zeros(64, dtype=torch.int64), torch.tensor([True, False])
    (train, test), (again, _), (other, _) = (
        route_splits(labels, labels, head, 0.5, seed, "many") for seed in (0, 0, 1)
    )
    assert torch.equal(train, again)
    assert not torch.equal(train, test)
    assert not torch.equal(train, other)


def test_a_group_of_fewer_than_two_training_samples_is_refused(refused) -> None:
    labels, head = torch.tensor([0, 0, 0, 1]), torch.tensor([True, False])
    problems = refused(lambda: route_splits(labels, labels, head, 1.0, 7, "many"))
    assert problems == [
        "fig2: p = 1.0, boundary many, seed 7: expected at least 2 training samples in "
        "each group, got 3 and 1"
    ]


# --- classifiers


def twins(per_head: int, per_tail: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Head class k and tail class 4 + k lie at the same place: only a group tells."""
    sizes = torch.tensor([per_head] * 4 + [per_tail] * 4)
    labels = torch.arange(8).repeat_interleave(sizes)
    noise = 0.3 * torch.randn(len(labels), 4, generator=coins(len(labels)))
    return 2 * torch.eye(4)[labels % 4] + noise, labels


def linear(
    sizes: tuple[int, int], tested: int, p: float, streamed: bool = False, **changes
) -> tuple[torch.Tensor, torch.Tensor]:
    """What linear classifiers say of twins; and what the twins are."""
    (train, labels), (test, wanted) = twins(*sizes), twins(tested, tested)
    head = torch.arange(8) < 4
    groups = route_splits(labels, wanted, head, p, 0, "half_classes")
    if streamed:
        train, test = (Streamed(part, torch.device("cpu")) for part in (train, test))
    classifiers = LinearClassifiers(
        Samples(train, labels), Samples(test, wanted), 8, fig2_settings(**changes)
    )
    return predict(classifiers, *groups, 0, print)[0], wanted


def test_streamed_features_give_the_same_predictions() -> None:
    expected, streamed = (linear((12, 6), 5, 0.8, way)[0] for way in (False, True))
    assert torch.equal(streamed, expected)


def test_twins_are_told_apart_by_a_perfect_separation_alone() -> None:
    predictions, wanted = linear((60, 15), 20, 1.0)
    # Noise of 0.3 against centres 2.8 apart.
    assert (predictions == wanted).float().mean() > 0.95
    predictions, wanted = linear((60, 15), 20, 0.5)
    right = (predictions == wanted).float()
    # A random split knows nothing: of twins at one place, one answer is right.
    assert right.mean() < 0.6
    assert right[wanted < 4].mean() > right[wanted >= 4].mean()


def test_at_p_one_seen_candidates_are_the_own_side() -> None:
    for candidates in ("seen", "all"):
        # Unfitted, a classifier answers anything that it may.
        changes = {"linear_epochs": 1, "lr": 1e-9, "candidates": candidates}
        predictions, wanted = linear((12, 12), 5, 1.0, **changes)
        own_side = torch.equal(predictions >= 4, wanted >= 4)
        assert own_side == (candidates == "seen")


def test_linear_fit_is_adam_on_cross_entropy() -> None:
    """The written-out gradient against autograd, from the same start and order."""
    (features, labels), rows = twins(6, 3), torch.arange(0, 36, 2)
    settings = fig2_settings(linear_epochs=1, batch_size=64)
    still = settings.model_copy(update={"lr": 1e-30})
    start, _ = fit_linear(features, labels, rows, 8, still, seed=3)
    layer = torch.nn.Linear(4, 8)
    layer.weight.data, layer.bias.data = start.weight, start.bias
    optimiser = torch.optim.Adam(layer.parameters(), lr=settings.lr)
    loss = torch.nn.functional.cross_entropy(layer(features[rows]), labels[rows])
    loss.backward()
    optimiser.step()
    fitted, history = fit_linear(features, labels, rows, 8, settings, seed=3)
    torch.testing.assert_close(fitted.weight, layer.weight.data)
    torch.testing.assert_close(fitted.bias, layer.bias.data)
    assert history == [pytest.approx(loss.item())]


def test_a_loss_that_is_not_finite_is_refused(refused) -> None:
    (features, labels), rows = twins(6, 3), torch.arange(36)
    features[5] = math.nan
    settings = fig2_settings()
    assert refused(lambda: fit_linear(features, labels, rows, 8, settings, 0)) == [
        "fig2: the loss of a linear classifier is not finite in epoch 1; a smaller "
        "fig2.lr may help"
    ]


def coloured(per_class: int, seed: int) -> ImageSplit:
    """Four classes, each a colour with noise."""
    labels = torch.arange(4).repeat_interleave(per_class)
    colours = torch.tensor([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200] * 3])
    noise = torch.randint(-30, 31, (len(labels), 3, 8, 8), generator=coins(seed))
    pixels = (colours[labels][:, :, None, None] + noise).to(torch.uint8)
    return ImageSplit(labels, pixels, ())


def of_images(
    backbone_settings, **changes: object
) -> tuple[tuple, torch.Tensor, list[int]]:
    """What networks say of coloured images, what these are, and the steps told."""
    train, test = coloured(24, 0), coloured(5, 1)
    head = torch.tensor([True, True, False, False])
    groups = route_splits(train.labels, test.labels, head, 1.0, 0, "half_classes")
    view = backbone_settings(augmentation="cifar", image_size=8, resize=8)
    settings = fig2_settings(**changes)
    networks = Networks(train, test, 4, settings, view, torch.device("cpu"), 0)
    told: list[int] = []
    predicted = predict(networks, *groups, 0, lambda step, *_: told.append(step))
    return predicted, test.labels, told


def test_networks_learn_their_groups_and_follow_from_the_seed_alone(
    backbone_settings,
) -> None:
    (predictions, losses), labels, told = of_images(backbone_settings, epochs=8)
    assert (predictions == labels).float().mean() > 0.9
    assert told == list(range(16))
    assert all(len(group) == 8 and group[-1] < group[0] for group in losses)
    first, *_ = of_images(backbone_settings, batch_size=47)  # 48 = 47 + 1 left over
    torch.manual_seed(99)
    second, *_ = of_images(backbone_settings, batch_size=47)
    assert torch.equal(first[0], second[0]) and first[1] == second[1]


# --- cells and claims

LABELS = np.repeat(np.arange(4), 50)
HEADS = {"many": np.array([True, True, False, False])}
BASIS = basis("separation", counts=[300, 200, 50, 10])


def test_accuracies_by_hand() -> None:
    predicted = np.array([[0, 0, 1, 2, 2, 0], [0, 0, 1, 0, 0, 3]])
    labels = np.array([0, 0, 1, 2, 2, 3])
    predictions = {("images", "many", 0.7): predicted}
    cells = accuracy_cells(predictions, labels, HEADS, BASIS)
    assert {cell.at for cell in cells} == {"p=0.7, boundary=many"}
    seeds = {cell.metric: cell.per_seed for cell in cells}
    assert seeds["overall"] == pytest.approx((5 / 6, 4 / 6))
    assert seeds["head"] == seeds["many"] == pytest.approx((1.0, 1.0))
    assert seeds["tail"] == pytest.approx((0.5, 0.5))  # class 2, then class 3
    assert seeds["medium"] == pytest.approx((1.0, 0.0))
    assert seeds["few"] == pytest.approx((0.0, 1.0))


@pytest.mark.parametrize(
    ("shares", "verdict", "falls"),
    [
        ({0.5: 0.4, 0.7: 0.6, 1.0: 0.8}, "supported", []),
        ({0.5: 0.8, 0.7: 0.6, 1.0: 0.4}, "contradicted", [(0.5, 0.7), (0.7, 1.0)]),
        ({0.5: 0.4, 0.7: 0.9, 1.0: 0.6}, "contradicted", [(0.7, 1.0)]),
        ({0.5: 0.5, 0.7: 0.5, 1.0: 0.5}, "undecided", []),
        ({1.0: 0.5}, "not run", []),
    ],
)
def test_verdict_is_of_both_ends_and_of_every_step(shares, verdict, falls) -> None:
    luck = np.random.default_rng(0).random((3, len(LABELS)))
    predictions = {
        ("linear", "many", p): np.where(luck < share, LABELS, (LABELS + 1) % 4)
        for p, share in shares.items()
    }
    steps = step_cells(predictions, LABELS, BASIS)
    assert len(steps) == len(shares) - 1
    fallen = [(s.minus, s.at) for s in steps if s.verdict == "contradicted"]
    assert fallen == [(f"p={a:g}", f"p={b:g}, boundary=many") for a, b in falls]
    losses = np.array([[[2.0] * 4 + [1.9], [2.0] * 4 + [1.99]]])
    fits = fits_of({("linear", "many", p): losses for p in shares})
    assert [fit["fell"] for fit in fits[:2]] == pytest.approx([0.05, 0.005])
    [claim] = larger_p_claims(predictions, LABELS, steps, fits, BASIS)
    assert claim.verdict == verdict and claim.id == "larger_p_linear_many"
    count = f"{len(shares)} of {2 * len(shares)} fits"
    assert claim.caveat.startswith(f"{count} were still improving when they ended")
