"""Kept runs side by side."""

import copy
import dataclasses

from replication.reporting.kept import KeptRun, kept_page

TITLES = {"own": "Flowers"}


def record(kind: str, method: str, protocol: str, mean: float) -> dict:
    return {
        "kind": kind, "method": method, "protocol": protocol, "metric": "overall",
        "mean": mean, "low": mean - 0.01, "high": mean + 0.01,
    }  # fmt: skip


def run(name: str, seed: int, gap: float) -> KeptRun:
    """DLSA is `gap` above its own head, and 0.02 more below the refitted one."""
    records = []
    for protocol in ("paper", "released_code"):
        for method, mean in (
            ("start", 0.4), ("balanced_softmax", 0.42 + 2 * gap), ("full", 0.4 + gap)
        ):  # fmt: skip
            records.append(record("value", method, protocol, mean))
        records.append(record("difference", "start", protocol, gap))
        records.append(record("difference", "balanced_softmax", protocol, -0.02 - gap))
    runs = {
        "prepare@own": {"settings": {"own.data.imbalance_factor": 50}},
        "backbone_paco@own": {
            "backbone": {"network": "resnet32_cifar", "epochs": 3, "seed": seed}
        },
        "dlsa@own": {
            "commit": "0123456789abcdef", "data_hash": "d", "seeds": {"seeds": [0, 1]},
            "settings": {"own.filter.lr": 0.1},
        },
    }  # fmt: skip
    return KeptRun(name, "own", records, runs)


def test_a_run_says_what_it_is_and_what_it_found() -> None:
    page = kept_page([run("a", 0, 0.005)], TITLES)
    assert (
        "| [a](a/README.md) | Flowers | 50 | resnet32_cifar | 3 | 0 | 0, 1 | "
        "`0123456789` |" in page
    )
    assert (
        "| a | paper | 40.0 [39.0, 41.0] | 43.0 [42.0, 44.0] | 40.5 [39.5, 41.5] | "
        "+0.5 [−0.5, +1.5] | −2.5 [−3.5, −1.5] |" in page
    )
    assert "Between backbones" not in page


def test_backbones_that_differ_by_their_seed_alone_are_compared() -> None:
    """Of +1 and -1 points the mean is 0; t of one degree of freedom is 12.7062."""
    page = kept_page([run("a", 0, 0.01), run("b", 1, -0.01)], TITLES)
    assert (
        "| a, b | paper | its own head | 2 | +1.0, −1.0 | +0.0 [−12.7, +12.7] |" in page
    )


def test_runs_of_other_settings_data_or_the_same_backbone_are_not() -> None:
    first = run("a", 0, 0.01)
    for stage, key, value in (
        ("backbone_paco@own", "backbone", {**first.backbone, "seed": 1, "epochs": 4}),
        ("dlsa@own", "data_hash", "e"),
        ("dlsa@own", "settings", {"own.filter.lr": 0.2}),
        ("backbone_paco@own", "backbone", first.backbone),
    ):
        other = dataclasses.replace(
            run("b", 1, 0.01), runs=copy.deepcopy(run("b", 1, 0.01).runs)
        )
        other.runs[stage][key] = value
        assert "Between backbones" not in kept_page([first, other], TITLES), key


def test_imported_features_and_a_data_set_as_it_comes() -> None:
    one = run("a", 0, 0.01)
    one.runs["backbone_paco@own"].pop("backbone")
    one.runs["prepare@own"]["settings"]["own.data.imbalance_factor"] = None
    page = kept_page([one, one], TITLES)
    assert "| as it comes | imported | n/a | n/a |" in page
    assert "Between backbones" not in page


def test_no_kept_run() -> None:
    assert "None so far has a Table 2." in kept_page([], TITLES)
