"""dlsa: one variant of DLSA (a row of Table 2) on one benchmark, every seed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from replication.cascade import (
    SPLITS,
    Level,
    fit_chains,
    levels_as_arrays,
    levels_from_arrays,
)
from replication.classifiers.heads import Term
from replication.classifiers.loading import head_of, read_splits
from replication.core.files import (
    BadInput,
    read_about,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_table,
)
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.scaling import Size
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
    Row,
)
from replication.core.stage import OUTPUTS, Stage, run
from replication.ladder import Setup
from replication.protocols import HEAD, PLAIN, PROTOCOLS, dlsa_rung, rungs_of
from replication.published.reader import read_published_tables
from replication.samples.features import Samples, Streamed
from replication.samples.predictions import predictions_table


@dataclass(frozen=True)
class Cascades:
    """One variant under every seed; what is fitted is kept in the resume folder.

    Fields: `heads`: seed -> the head that every first term starts from; `rungs`: of the
    ladder, by protocol, that are fitted: DLSA itself at least.
    """

    splits: Mapping[str, Samples]
    num_classes: int
    heads: Mapping[int, Term]
    filter_settings: FilterSettings
    cascade: CascadeSettings
    classifier: ClassifierSettings
    folder: Path
    rungs: Mapping[str, Sequence[str]]

    def file(self, kind: str, seed: int, key: str) -> Path:
        """Where the `filters` or `rungs` of a seed and a protocol are kept."""
        return self.folder / f"{kind}-{seed}-{key}.safetensors"

    def decide(self, device: torch.device, tell: Tell) -> None:
        """Fit the filters of every seed, then classifiers, protocol by protocol.

        What a run before this one has left is not fitted again.
        """
        last = list(PROTOCOLS)[-1]
        fits = {
            self.file("filters", seed, last): partial(self._fit, seed)
            for seed in self.heads
        }
        climbs = {
            self.file("rungs", *pair): partial(self._climb, *pair)
            for pair in product(self.heads, PROTOCOLS)
        }
        dimensions = self.splits["train"].features.shape[1]
        for pieces in (fits, climbs):
            run_pieces(pieces, dimensions, device, tell)

    def chains(self, seed: int) -> dict[str, list[Level]]:
        """Levels of each protocol, as they were fitted."""
        files = {key: self.file("filters", seed, key) for key in PROTOCOLS}
        device = self.splits["train"].labels.device
        sigma = self.filter_settings.sigma
        return {
            key: levels_from_arrays(
                read_arrays(file), read_about(file)["levels"], sigma, device
            )
            for key, file in files.items()
        }

    def _climb(self, seed: int, key: str, _: Tell) -> None:
        head, chains = self.heads[seed], self.chains(seed)
        setup = Setup(chains, self.splits, head, self.classifier, seed)
        climbed = setup.climb(self.rungs[key], PROTOCOLS[key])
        write_arrays(
            self.file("rungs", seed, key),
            {name: rung.predicted for name, rung in climbed.items()},
            {name: rung.notes for name, rung in climbed.items()},
        )

    def _fit(self, seed: int, tell: Tell) -> None:
        def told(epoch: int, of: int, metrics: Mapping[str, float]) -> None:
            tell(epoch, of, {"seed": seed, **metrics})

        chains = fit_chains(
            self.splits,
            self.num_classes,
            self.filter_settings,
            self.cascade,
            list(PROTOCOLS.values()),
            seed,
            told,
            self.folder,
        )
        for key, chain in chains.items():
            arrays, facts = levels_as_arrays(chain.levels)
            about = {"levels": facts, "filters": chain.diagnoses}
            write_arrays(self.file("filters", seed, key), arrays, about)
        for state in self.folder.glob(f"fit-{seed}-*.pt"):
            state.unlink()


def main(stage: Stage, benchmark: str, variant: str, objective: str) -> None:
    """Write predictions, and diagnostics of filters and classifiers; say Overall.

    The full model on PaCo's features comes with the ladder from its head.
    """
    row = _row(stage, variant)
    folder = OUTPUTS / benchmark / objective
    device = stage.uses()
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    splits = read_splits(stage, folder / "features", SPLITS, device)
    size = Size(sum(data["class_counts"]), splits["train"].features.shape[1])
    settings = {
        "filter": stage.settings.filter(benchmark, size, row),
        "cascade": stage.settings.cascade(benchmark),
        "classifier": stage.settings.classifier(benchmark, size),
    }
    start = read_arrays(stage.reads(folder / "heads" / "start.safetensors"))
    seeds = stage.settings.seeds()
    cascades = Cascades(
        splits,
        data["classes"],
        {seed: head_of(start, device, seed) for seed in seeds},
        *settings.values(),
        stage.resume_folder(*settings.values(), device.type),
        _rungs(settings["classifier"].second_terms, variant, objective),
    )
    with progress(stage.name) as tell:
        cascades.decide(device, tell)
    target = stage.makes(folder / "dlsa" / variant)
    labels = {name: splits[name].labels.cpu().numpy() for name in ("train", "test")}
    _write(target, cascades, labels)
    facts = {name: of.model_dump() for name, of in settings.items()}
    stage.states(
        target,
        folder / "heads",
        recipe=stage.settings.recipe(benchmark),
        size=asdict(size),
        epochs_kept=_epochs_kept(cascades),
        **facts,
    )
    stage.notes(
        streamed=[
            split
            for split, samples in splits.items()
            if isinstance(samples.features, Streamed)
        ]
    )
    stage.finish()


def _rungs(
    second_terms: str, variant: str, objective: str
) -> dict[str, tuple[str, ...]]:
    """Protocol -> what is fitted: DLSA; with the full model a plain classifier too."""
    dlsa = dlsa_rung(second_terms)
    if variant == "full" and objective == "paco":
        return {key: tuple(rungs_of(protocol)) for key, protocol in PROTOCOLS.items()}
    return dict.fromkeys(PROTOCOLS, (PLAIN, dlsa) if variant == "full" else (dlsa,))


def _row(stage: Stage, variant: str) -> Row:
    """The row of Table 2 that a variant is."""
    rows = read_published_tables()["table2"].rows
    if variant not in rows:
        expected = ", ".join(rows)
        raise BadInput(f"{stage.name}: expected one of {expected}, got {variant!r}")
    return rows[variant]


def _write(target: Path, cascades: Cascades, labels: Mapping[str, np.ndarray]) -> None:
    """Tables of every seed together; `labels`: train and test -> (N,)."""
    dlsa = dlsa_rung(cascades.classifier.second_terms)
    rungs: dict[str, dict[tuple[int, str], np.ndarray]] = {}
    likelihoods = {f"labels.{split}": some for split, some in labels.items()}
    diagnostics, notes = {}, {}
    for seed in cascades.heads:
        filters, classifiers = {}, {}
        for key, names in cascades.rungs.items():
            file = cascades.file("rungs", seed, key)
            predicted, classifiers[key] = read_arrays(file), read_about(file)
            filters[key] = read_about(cascades.file("filters", seed, key))["filters"]
            for name in names:
                rungs.setdefault(name, {})[seed, key] = predicted[name]
        for name, some in _likelihoods(cascades.chains(seed)).items():
            likelihoods[f"{seed}.{name}"] = some
        notes[str(seed)] = classifiers
        diagnostics[str(seed)] = {
            "filters": filters,
            "classifiers": {key: of[dlsa] for key, of in classifiers.items()},
        }
    tables = {
        name: predictions_table(labels["test"], predictions)
        for name, predictions in rungs.items()
    }
    write_table(target / "predictions.safetensors", tables[dlsa])
    if PLAIN in tables:
        write_table(target / f"{PLAIN}.predictions.safetensors", tables[PLAIN])
    if HEAD in tables:
        ladder = pd.concat(table.assign(rung=name) for name, table in tables.items())
        write_table(target / "ladder.predictions.safetensors", ladder)
        write_json(target / "ladder.json", notes)
    write_arrays(target / "likelihoods.safetensors", likelihoods)
    write_json(target / "diagnostics.json", diagnostics)
    for name, said in ((HEAD, "its head"), (dlsa, "DLSA")):
        if name in tables:
            print(f"{said}: Overall {_overall(tables[name])}")


def _overall(table: pd.DataFrame) -> str:
    """Of a predictions table, each protocol: `48.3 % (validated), ...`."""
    right = table["label"] == table["prediction"]
    shares = 100 * right.groupby(table["protocol"]).mean()
    return ", ".join(f"{share:.1f} % ({key})" for key, share in shares.items())


def _epochs_kept(cascades: Cascades) -> dict[str, list[list[int]]]:
    """Protocol -> for each seed which epoch of each filter was kept, by depth."""
    return {
        key: [
            [level["epoch"] for level in read_about(file)["levels"]]
            for file in (cascades.file("filters", seed, key) for seed in cascades.heads)
        ]
        for key in PROTOCOLS
    }


def _likelihoods(chains: Mapping[str, Sequence[Level]]) -> dict[str, np.ndarray]:
    """`<protocol>.<depth>.<split>` -> (N,) log P(x), NaN where a sample had left."""
    arrays = {}
    for key, levels in chains.items():
        for depth, level in enumerate(levels, start=1):
            for split in ("train", "test"):
                values = level.log_likelihood[split].float().cpu().numpy()
                remain = level.remain[split].cpu().numpy()
                known = np.full_like(values, np.nan)
                known[remain] = values[remain]
                arrays[f"{key}.{depth}.{split}"] = known
    return arrays


def name(benchmark: str, variant: str, objective: str) -> str:
    """The stage's name: the full model serves every table, others the ablation."""
    group = {"paco": "dlsa", "ce": "dlsa_ce"}[objective]
    return f"{group if variant == 'full' else 'ablation'}@{benchmark}-{variant}"


if __name__ == "__main__":
    run(main, name)
