"""ImageNet-LT's settings at another size: what has no dimension stays as it is.

The paper has no settings for a data set of another size. Kept are the samples and the
pairs of a cluster, the mean squared distance of two centres, and the classifiers'
learning rate times their number of steps.
"""

from dataclasses import dataclass

FEWEST_CLUSTERS, FEWEST_PAIRS, FEWEST_SAMPLES = 2, 32, 128
FLOORS = (
    f"At least {FEWEST_CLUSTERS} clusters, since with one L_bal and L_pure are "
    f"constant; at least {FEWEST_PAIRS} pairs a batch, since its statistics normalise "
    f"the flow, so that below about 3,600 samples an epoch has fewer steps than "
    f"ImageNet-LT's; and a rate of at most that for {FEWEST_SAMPLES} samples, since "
    "with a single batch an epoch stays one step."
)
# What each scaled setting leaves as it is on ImageNet-LT.
KEPT = {
    ("filter", "num_clusters"): "samples a cluster",
    ("filter", "batch_size"): "pairs a cluster, steps an epoch",
    ("filter", "sigma"): "mean squared distance of two centres",
    ("classifier", "lr"): "rate times steps",
}


@dataclass(frozen=True)
class Size:
    """Distinct training samples N, and dimensions D of their features."""

    samples: int
    dimensions: int


@dataclass(frozen=True)
class Scaled:
    """A setting at another size, and in words how it comes about."""

    value: float
    arithmetic: str


IMAGENET_LT = Size(115_846, 2048)


def scaled(size: Size) -> dict[tuple[str, str], Scaled]:
    """(section, setting) -> what ImageNet-LT's value becomes at another size."""
    samples, reference = size.samples, IMAGENET_LT.samples
    counted = max(samples, FEWEST_SAMPLES)
    return {
        ("filter", "num_clusters"): _in_proportion(500, samples, FEWEST_CLUSTERS),
        ("filter", "batch_size"): _in_proportion(1024, samples, FEWEST_PAIRS),
        ("filter", "sigma"): Scaled(
            0.05 * (IMAGENET_LT.dimensions / size.dimensions) ** 0.5,
            f"0.05 x sqrt({IMAGENET_LT.dimensions:,} / {size.dimensions:,})",
        ),
        ("classifier", "lr"): Scaled(
            1e-4 * reference / counted,
            f"0.0001 x {reference:,} / {counted:,}"
            + f" (one batch; {samples:,} samples)" * (counted != samples),
        ),
    }


def clusters_of_row(in_use: float, default: float, printed: float) -> Scaled:
    """A printed number of clusters, in its proportion to the printed default.

    `in_use`: K of the full model; `default`, what print says that it is.
    """
    value = max(FEWEST_CLUSTERS, round(in_use * printed / default))
    return Scaled(value, f"{in_use:,} x {printed:,} / {default:,}")


def _in_proportion(value: int, samples: int, least: int) -> Scaled:
    wanted = round(value * samples / IMAGENET_LT.samples)
    floor = f", at least {least}" * (wanted < least)
    arithmetic = f"{value:,} x {samples:,} / {IMAGENET_LT.samples:,}{floor}"
    return Scaled(max(least, wanted), arithmetic)
