"""Settings tried, several at once; each result is a file of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from replication.cascade import Level, fit_levels, levels_as_arrays, levels_from_arrays
from replication.classifiers.heads import Term
from replication.core.files import (
    BadInput,
    content_hash,
    read_about,
    read_arrays,
    write_arrays,
)
from replication.core.parallel import Tell, run_pieces
from replication.core.settings import ClassifierSettings, FilterSettings
from replication.protocols import VALIDATED
from replication.samples.features import Samples
from replication.sections.diagnosis.experiment import (
    Tried,
    decide_as,
    undecided,
    validation_accuracy,
)
from replication.sections.diagnosis.search import Fit, Setting, fit_of


@dataclass
class Trials:
    """What settings decide; only what is missing is computed.

    Fields: `splits`, by whether training features are clean though they are augmented
    in use; `heads`, likewise: seed -> the head as it is, and once refitted; `folder` of
    the files; `fits`: filters asked for so far, of which the deepest serve the others.
    """

    splits: Mapping[bool, Mapping[str, Samples]]
    num_classes: int
    heads: Mapping[bool, Mapping[int, tuple[Term, Term]]]
    filter_settings: FilterSettings
    classifier: ClassifierSettings
    folder: Path
    device: torch.device
    tell: Tell
    fits: list[Fit] = field(default_factory=list)

    def score(
        self, seeds: Sequence[int], settings: Sequence[Setting]
    ) -> dict[Setting, float]:
        """Validation Overall of settings: all that the search is told."""
        labels = self.splits[False]["val"].labels.cpu().numpy()
        return {
            setting: validation_accuracy(of_seed, labels)
            for setting, of_seed in self.results(settings, seeds).items()
        }

    def results(
        self, settings: Sequence[Setting], seeds: Sequence[int]
    ) -> dict[Setting, dict[int, Tried]]:
        """What each setting decides under each seed."""
        self._fit_for(settings, seeds)
        files = {
            (setting, seed): self._file("decided", asdict(setting), seed)
            for setting in settings
            for seed in seeds
        }
        self._make(self._decide, files)
        return {
            setting: {seed: read_arrays(files[setting, seed]) for seed in seeds}
            for setting in settings
        }

    def _fit_for(self, settings: Sequence[Setting], seeds: Sequence[int]) -> None:
        """Fit the filters that the settings need."""
        wanted = [
            fit_of(setting, self.filter_settings)
            for setting in settings
            if setting.depth
        ]
        for fit in sorted(wanted, key=lambda fit: -fit.cascade.depth):
            if not any(known.serves(fit) for known in self.fits):
                self.fits.append(fit)
        needed = dict.fromkeys(self._serving(fit) for fit in wanted)
        files = {
            (fit, seed): self._levels(fit, seed) for fit in needed for seed in seeds
        }
        self._make(self._fit, files)

    def _make(self, make: Callable[..., None], files: Mapping[tuple, Path]) -> None:
        """Make the files that are missing, by what they are of and its seed."""

        def piece(step: int, key: tuple, file: Path, tell: Tell) -> None:
            make(*key, file)
            tell(step, len(files), {"seed": key[1]})

        pieces = {
            file: partial(piece, step, key, file)
            for step, (key, file) in enumerate(files.items())
        }
        dimensions = self.splits[False]["train"].features.shape[1]
        run_pieces(pieces, dimensions, self.device, self.tell)

    def _fit(self, fit: Fit, seed: int, file: Path) -> None:
        """Fit filters. Those that were tried may diverge, those in use must not."""
        try:
            levels = fit_levels(
                self.splits[fit.clean],
                self.num_classes,
                fit.filter,
                fit.cascade,
                VALIDATED,
                seed,
            ).levels
        except BadInput:
            if fit.filter == self.filter_settings:
                raise
            levels = []
        arrays, facts = levels_as_arrays(levels)
        write_arrays(file, arrays, {"levels": facts})

    def _decide(self, setting: Setting, seed: int, file: Path) -> None:
        levels = self._fitted(setting, seed) if setting.depth else []
        if setting.depth and not levels:
            tried = undecided(self.splits[setting.clean])
        else:
            tried = decide_as(
                setting,
                levels,
                self.splits[setting.clean],
                self.heads[setting.clean][seed][setting.refitted],
                self.classifier,
                seed,
            )
        write_arrays(file, tried)

    def _fitted(self, setting: Setting, seed: int) -> list[Level]:
        """The filters that a setting needs; none where they could not be fitted."""
        fit = self._serving(fit_of(setting, self.filter_settings))
        file = self._levels(fit, seed)
        return levels_from_arrays(
            read_arrays(file), read_about(file)["levels"], fit.filter.sigma, self.device
        )

    def _serving(self, fit: Fit) -> Fit:
        return next(known for known in self.fits if known.serves(fit))

    def _levels(self, fit: Fit, seed: int) -> Path:
        of = [fit.filter.model_dump(), fit.cascade.model_dump(), fit.clean]
        return self._file("levels", of, seed)

    def _file(self, what: str, key: Any, seed: int) -> Path:
        return self.folder / f"{what}-{content_hash(key)}-seed-{seed}.safetensors"
