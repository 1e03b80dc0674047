"""The references say what the suite says: a ratio is between equals."""

import torch
from torch import nn

from bench import references
from replication.classifiers.fitting import Problem, fit_classifiers
from replication.classifiers.heads import Rows, Term, log_prior
from replication.core.settings import ClassifierSettings, FilterSettings
from replication.flow_filter.fitting import objective_terms, read_clusters
from replication.flow_filter.flow import FlowFilter

SETTINGS = FilterSettings(
    lambda_mle=1.0, lambda_bal=2.0, lambda_pure=0.03, num_clusters=4, sigma=0.5,
    eta=0.7, weight_exponent=2.0, lr=0.1, batch_size=8, epochs=1,
)  # fmt: skip


def flow_and_pairs() -> tuple[FlowFilter, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    flow = FlowFilter(6, 4, 0.5, generator).double()
    return flow, torch.randn(2, 8, 6, generator=generator).double()


def test_the_objective_is_that_of_the_suite() -> None:
    flow, pairs = flow_and_pairs()
    weights = torch.linspace(0.1, 1, 8).double()
    share = torch.full((4,), 0.25).double()
    expected, after = objective_terms(flow, *pairs, weights, share, 3, SETTINGS)
    found, share = references.objective(
        flow.transform, flow.base.centres, tuple(pairs), weights, share, 3, SETTINGS
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(share, after)


def test_reading_is_that_of_the_suite() -> None:
    flow, (x, _) = flow_and_pairs()
    expected = read_clusters(flow, x)
    likelihood, cluster = references.read(flow.transform, flow.base.centres, x, 3)
    torch.testing.assert_close(likelihood, expected.log_likelihood)
    assert torch.equal(cluster, expected.cluster)


def test_an_epoch_by_autograd_moves_the_weights_as_the_suite_does() -> None:
    generator = torch.Generator().manual_seed(1)
    x, labels = torch.randn(20, 3, generator=generator), torch.arange(20) % 5
    settings = ClassifierSettings(
        lr=0.1, batch_size=8, epochs=1, evaluate_every=1, second_terms="drawn"
    )
    start = Term(torch.randn(5, 3, generator=generator), torch.zeros(5))
    layer = nn.Linear(3, 5)
    layer.load_state_dict({"weight": start.weight, "bias": start.bias})
    counts = labels.bincount()
    # One epoch's order, as `fit_classifiers` draws it from its seed.
    order = torch.randperm(20, generator=torch.Generator().manual_seed(7))
    problem = Problem([[start]], [Rows(x)], labels, counts[None], None, seed=7)
    [fitted] = fit_classifiers(problem, settings)
    references.classifier_epoch(layer, x, labels, order, log_prior(counts), 0.1, 8)
    assert not torch.allclose(layer.weight, start.weight)
    torch.testing.assert_close(layer.weight.detach(), fitted.terms[0].weight)
    torch.testing.assert_close(layer.bias.detach(), fitted.terms[0].bias)
