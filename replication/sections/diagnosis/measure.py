"""diagnosis: where DLSA loses, and which settings, chosen on validation, it needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replication.cascade import (
    SPLITS,
    fit_levels,
    levels_as_arrays,
    levels_from_arrays,
)
from replication.classifiers.fitting import fit_balanced_softmax_heads
from replication.classifiers.heads import Term
from replication.classifiers.loading import head_of, read_splits
from replication.core.device import pick_device
from replication.core.files import (
    BadInput,
    content_hash,
    read_about,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_table,
)
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    DiagnoseSettings,
    FilterSettings,
    HeadSettings,
    Settings,
)
from replication.core.stage import OUTPUTS, Stage, run
from replication.samples.features import Samples
from replication.samples.predictions import predictions_table
from replication.sections.diagnosis.experiment import (
    DECIDED,
    Answers,
    Fit,
    Setting,
    Step,
    Tried,
    alternatives,
    best_of,
    compared,
    decide_as,
    factor_records,
    fit_of,
    ladder,
    ladder_records,
    one_at_a_time,
    search,
    setting_in_use,
    undecided,
    validation_accuracy,
    without_split,
)

_BEHIND = ("prepare", "backbone_paco", "features_paco", "heads_paco")


@dataclass
class Workbench:
    """Tries settings, several at once, and keeps each result in a file of its own.

    Fields: `heads`: seed -> the head as it is, and once refitted; `searched`: seeds
    that the search looks at; `fits`: filters asked for so far; `scored`: settings that
    the search asked about, with their validation Overall.
    """

    splits: Mapping[str, Samples]
    num_classes: int
    heads: Mapping[int, tuple[Term, Term]]
    searched: Sequence[int]
    filter_settings: FilterSettings
    classifier: ClassifierSettings
    folder: Path
    device: torch.device
    tell: Tell
    fits: list[Fit] = field(default_factory=list)
    scored: dict[Setting, float] = field(default_factory=dict)

    def score(self, settings: Sequence[Setting]) -> dict[Setting, float]:
        """Validation Overall of settings: all that the search is told."""
        labels = self.splits["val"].labels.cpu().numpy()
        unknown = [one for one in dict.fromkeys(settings) if one not in self.scored]
        for setting, seeds in self.results(unknown, self.searched).items():
            self.scored[setting] = validation_accuracy(seeds, labels)
        return {setting: self.scored[setting] for setting in settings}

    def results(
        self, settings: Sequence[Setting], seeds: Sequence[int]
    ) -> dict[Setting, dict[int, Tried]]:
        """What each setting decides under each seed; only what is missing is made."""
        self._fit_for(settings, seeds)
        files = {
            (setting, seed): self._file("decided", asdict(setting), seed)
            for setting in settings
            for seed in seeds
        }
        self._make(self._decide, files)
        found: dict[Setting, dict[int, Tried]] = {one: {} for one in settings}
        for (setting, seed), file in files.items():
            arrays = read_arrays(file)
            predictions = {split: arrays[split] for split in DECIDED}
            notes = read_about(file)["notes"]
            found[setting][seed] = Tried(predictions, arrays["part"], notes)
        return found

    def _fit_for(self, settings: Sequence[Setting], seeds: Sequence[int]) -> None:
        """Fit the filters that the settings need; the deepest serve the others too."""
        wanted = [fit_of(one, self.filter_settings) for one in settings if one.depth]
        for fit in sorted(wanted, key=lambda one: -one.cascade.depth):
            if not any(known.serves(fit) for known in self.fits):
                self.fits.append(fit)
        needed = dict.fromkeys(self._serving(fit) for fit in wanted)
        self._make(
            self._fit,
            {(fit, seed): self._levels(fit, seed) for fit in needed for seed in seeds},
        )

    def _make(self, make: Callable[..., None], files: Mapping[tuple, Path]) -> None:
        missing = [(key, file) for key, file in files.items() if not file.is_file()]

        def one(step: int, key: tuple, file: Path, tell: Tell) -> None:
            make(*key, file)
            tell(step, len(missing), {"seed": key[1], "tried": len(self.scored)})

        pieces = [
            partial(one, step, key, file) for step, (key, file) in enumerate(missing)
        ]
        run_pieces(pieces, len(pieces), self.device, self.tell)

    def _fit(self, fit: Fit, seed: int, file: Path) -> None:
        """Fit filters. Those that were tried may diverge, those in use must not."""
        try:
            levels, _ = fit_levels(
                self.splits, self.num_classes, fit.filter, fit.cascade, seed
            )
        except BadInput as error:
            if fit.filter == self.filter_settings:
                raise
            write_arrays(file, {}, {"refused": str(error)})
            return
        arrays, levels_facts = levels_as_arrays(levels)
        write_arrays(file, arrays, {"levels": levels_facts})

    def _decide(self, setting: Setting, seed: int, file: Path) -> None:
        levels = []
        if setting.depth:
            fit = self._serving(fit_of(setting, self.filter_settings))
            kept = self._levels(fit, seed)
            facts = read_about(kept)
            if "refused" in facts:
                write_arrays(file, undecided(self.splits), {"notes": []})
                return
            levels = levels_from_arrays(
                read_arrays(kept), facts["levels"], fit.filter.sigma, self.device
            )
        tried = decide_as(
            setting,
            levels,
            self.splits,
            self.num_classes,
            self.heads[seed][setting.refitted],
            self.classifier,
            seed,
        )
        arrays = {**tried.predictions, "part": tried.part}
        write_arrays(file, arrays, {"notes": tried.notes})

    def _serving(self, fit: Fit) -> Fit:
        return next(known for known in self.fits if known.serves(fit))

    def _levels(self, fit: Fit, seed: int) -> Path:
        both = [fit.filter.model_dump(), fit.cascade.model_dump()]
        return self._file("levels", both, seed)

    def _file(self, what: str, key: Any, seed: int) -> Path:
        return self.folder / f"{what}-{content_hash(key)}-seed-{seed}.safetensors"


@dataclass(frozen=True)
class Found:
    """What the search came to: settings, before their test samples are looked at.

    Fields: `named`: what a reader compares; `ladders`: learning rate -> rungs;
    `singles`: one factor changed in each; `steps` of the search; `cascades`: how many
    settings of the cascade were tried.
    """

    named: Mapping[str, Setting]
    ladders: Mapping[float, Mapping[str, Setting]]
    singles: Sequence[tuple[str, Setting]]
    steps: Sequence[Step]
    cascades: int

    def to_measure(self) -> dict[str, Setting]:
        """Every setting that is measured under every seed, by the name of its file."""
        rungs = {
            f"ladder-{lr:g}-{name}": rung
            for lr, some in self.ladders.items()
            for name, rung in some.items()
        }
        return {**self.named, **rungs}


def main(stage: Stage, benchmark: str) -> None:
    """Write diagnosis.json, and the predictions of the ladders and of what was found.

    Raises:
        BadInput: there are no validation samples to choose on.
    """
    settings = (
        stage.settings.filter(benchmark),
        stage.settings.cascade(benchmark),
        stage.settings.classifier(benchmark),
        stage.settings.head(benchmark),
    )
    grid, seeds = stage.settings.diagnose(), stage.settings.seeds()
    folder = OUTPUTS / benchmark / "paco"
    device = stage.uses(pick_device(stage.settings.device()))
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    counts = np.array(data["class_counts"])
    splits = read_splits(stage, folder / "features", SPLITS, device)
    labels = {split: splits[split].labels.cpu().numpy() for split in DECIDED}
    if len(labels["val"]) == 0:
        raise BadInput(
            f"{stage.name}: expected validation samples to choose settings on, got "
            "none; where the images allow it, data.validation_per_class holds some out"
        )
    start = read_arrays(stage.reads(folder / "heads" / "start.safetensors"))
    heads = {
        seed: _both_heads(
            head_of(start, device, seed), splits["train"], counts, settings[3], seed
        )
        for seed in seeds
    }
    with progress(stage.name) as tell:
        bench = Workbench(
            splits,
            data["classes"],
            heads,
            seeds[: grid.search_seeds],
            settings[0],
            settings[2],
            stage.resume_folder(*settings, device.type),
            device,
            tell,
        )
        found = _look(bench, setting_in_use(*settings[:3]), grid)
        measured = found.to_measure()
        results = bench.results(list(dict.fromkeys(measured.values())), seeds)
        alone = [found.named["published"], *(one for _, one in found.singles)]
        looked_at = bench.results(alone, bench.searched)
    diverged = {}
    for name, setting in measured.items():
        seeds_of = results[setting]
        if refused := [seed for seed, one in seeds_of.items() if one.refused]:
            diverged[name] = refused
            print(
                f"{stage.name}: {name}: its filters diverged under seeds "
                f"{', '.join(map(str, refused))}, whose samples count as wrong"
            )
        predictions = {
            (seed, "paper"): one.predictions["test"]
            for seed, one in seeds_of.items()
            if not one.refused
        }
        write_table(
            folder / "diagnosis" / f"{name}.predictions.safetensors",
            predictions_table(labels["test"], predictions),
        )
    write_json(
        OUTPUTS / "tables" / benchmark / "diagnosis.json",
        {
            "benchmark": benchmark,
            "runs": stage.behind(*(f"{name}@{benchmark}" for name in _BEHIND)),
            "data": {key: data[key] for key in data if key != "class_names"},
            "tried": {
                "cascades": found.cascades,
                "plain": len(bench.scored) - found.cascades,
            },
            **_records(
                found,
                Answers(results, labels, counts),
                Answers(looked_at, labels, counts),
            ),
            "claims": [],  # none of it is a sentence of the supplement
            "settings": {
                "overridden": _of_origin(stage.settings, benchmark, "overridden"),
                "guessed": _of_origin(stage.settings, benchmark, "guess"),
                "seeds": list(seeds),
                "searched": list(bench.searched),
                "diagnose": grid.model_dump(),
            },
        },
    )
    stage.notes(diagnose=grid.model_dump(), tried=len(bench.scored), diverged=diverged)
    stage.finish()


def _look(bench: Workbench, base: Setting, grid: DiagnoseSettings) -> Found:
    """Everything that is chosen, on validation accuracies alone."""
    others = alternatives(base, grid, bench.splits["train"].features.shape[1])
    singles = one_at_a_time(base, others)
    chosen, steps = search(base, others, bench.score)
    cascades = len(bench.scored)
    bare = without_split(base, others)
    named = {
        "head": bare["head"][0],
        "refitted": bare["refitted"][0],
        "plain": best_of(bench.score(bare["plain"])),
        "published": base,
        "chosen": chosen,
    }
    # At a learning rate that moves no classifier a ladder shows little: one more.
    rates = [base, *(one for factor, one in singles if factor == "lr")]
    fast = best_of(bench.score(rates))
    ladders = {one.lr: ladder(one) for one in (base, fast)}
    return Found(named, ladders, singles, steps, cascades)


def _records(found: Found, answers: Answers, looked_at: Answers) -> dict[str, Any]:
    methods, differences = compared(answers, found.named)
    pairs = (("published", "head"), ("chosen", "plain"))
    return {
        "methods": methods,
        "differences": differences,
        "factors": factor_records(looked_at, found.named["published"], found.singles),
        "steps": [asdict(step) for step in found.steps],
        "ladders": [
            {"lr": lr, "rungs": ladder_records(answers, rungs)}
            for lr, rungs in found.ladders.items()
        ],
        "parts": [
            {
                "first": first,
                "second": second,
                "parts": answers.contributions(found.named[first], found.named[second]),
            }
            for first, second in pairs
        ],
    }


def _of_origin(settings: Settings, benchmark: str, origin: str) -> list[str]:
    """Settings of the cascade that have this origin: not everything is published."""
    sections = {
        "filter": FilterSettings,
        "cascade": CascadeSettings,
        "classifier": ClassifierSettings,
    }
    return [
        f"{section}.{name}"
        for section, kind in sections.items()
        for name, one in settings.choices(
            benchmark, section, tuple(kind.model_fields)
        ).items()
        if one.origin == origin
    ]


def _both_heads(
    head: Term,
    train: Samples,
    counts: np.ndarray,
    settings: HeadSettings,
    seed: int,
) -> tuple[Term, Term]:
    """The head that DLSA starts from, and the same refitted as `heads` does it."""
    on_device = torch.from_numpy(counts).to(train.labels.device)
    (refitted,) = fit_balanced_softmax_heads(
        train.features, train.labels, head, on_device, settings, [seed]
    )
    return head, refitted


if __name__ == "__main__":
    run(main, lambda benchmark: f"diagnosis@{benchmark}")
