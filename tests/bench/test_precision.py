"""Rounder products: what is rounded is what a tensor core rounds."""

import copy

import pytest
import torch

from bench import precision


def test_rounding_to_7_bits_is_bfloat16s() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10_000, generator=generator) * 1e3
    assert torch.equal(precision.rounded(7)(x), x.bfloat16().float())


def test_rounding_to_10_bits_worked() -> None:
    """To the nearest, ties to even: steps of 2^-10 just above 1."""
    step = 2.0**-10
    x = torch.tensor([1 + 0.4 * step, 1 + 0.5 * step, 1 + 0.6 * step, 1 + 1.5 * step])
    given = precision.rounded(10)(torch.cat([x, -x]))
    ends = torch.tensor([1.0, 1.0, 1 + step, 1 + 2 * step])
    assert torch.equal(given, torch.cat([ends, -ends]))


@pytest.fixture(scope="module")
def small() -> tuple:
    return precision.fitted(8, epochs=1)


def test_errors_fall_with_bits(small) -> None:
    flow, features = small
    exact = copy.deepcopy(flow).double()
    errors = [
        precision.apart(
            precision.with_rounded_products(flow, precision.rounded(bits)),
            exact,
            features,
        ).likelihood
        for bits in (4, 7, 10)
    ]
    plain = precision.apart(flow, exact, features).likelihood
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 9 * plain


def test_a_filter_is_left_as_it_is(small) -> None:
    flow, features = small
    before = flow(features).latent
    precision.with_rounded_products(flow, precision.rounded(7))
    assert torch.equal(flow(features).latent, before)
