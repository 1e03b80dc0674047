"""The references say what the suite says: a ratio is between equals."""

import torch
from torch import nn

from bench import references
from replication.classifiers.fitting import Problem, fit_classifiers
from replication.classifiers.heads import Rows, Term, log_prior
from replication.core.settings import ClassifierSettings


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
