"""prepare: a benchmark's input becomes an index with label, split and content hash."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from replication.core.files import (
    BadInput,
    content_hash,
    printable,
    write_arrays,
    write_json,
    write_table,
)
from replication.core.progress import progress
from replication.core.settings import (
    DOWNLOADS,
    PUBLISHED,
    CascadeSettings,
    DataSettings,
)
from replication.core.stage import OUTPUTS, Stage, run
from replication.data.features import ImportedFeatures, read_features
from replication.data.listing import SPLITS, Listing
from replication.data.repeats import find_repeats, one_hash_up_to_rounding
from replication.data.sources import Prepared, prepare
from replication.samples.shots import class_counts, shot_groups


def main(stage: Stage, benchmark: str) -> None:
    """Write index.csv, pixels.safetensors (small images) and summary.json."""
    settings = stage.settings.data(benchmark)
    given = stage.settings.features(benchmark, "paco")
    if given is None:
        if settings.images is not None:
            for name in ("lists.yaml", "class_counts.json"):
                stage.reads(PUBLISHED / name)
        with progress(stage.name) as tell:
            prepared = prepare(settings, DOWNLOADS, tell)
    else:
        imported = read_features(
            given, settings.published_classes, benchmark == "inat18"
        )
        for file in imported.files:
            stage.reads(file)
        prepared = prepare_features(imported, stage.settings.is_shipped(benchmark))
    if (classes := len(prepared.listing.class_names)) < 2:
        raise BadInput(f"{stage.name}: expected at least 2 classes, got {classes}")
    notes = [*map(printable, (*prepared.notes, *unbalanced(prepared.listing)))]
    folder = stage.makes(OUTPUTS / benchmark / "data")
    index = index_of(prepared)
    write_table(folder / "index.csv", index)
    if prepared.pixels is not None:
        by_split = {
            split: prepared.pixels[index["split"].to_numpy() == split]
            for split in SPLITS
        }
        write_arrays(folder / "pixels.safetensors", by_split)
    summary = summarise(prepared, settings)
    write_json(folder / "summary.json", summary)
    stage.states(folder, notes=notes, doubts=prepared.doubts)
    # Behind what is stated: no fact of the data, but what training would stop at.
    cascade = stage.settings.cascade(benchmark)
    refuse_short_cascade(stage.name, summary["class_counts"], cascade)
    stage.finish()
    for note in notes:
        print(f"{benchmark}: {note}")
    print(
        f"{benchmark}: {summary['images']['train']} training samples of "
        f"{summary['classes']} classes, largest {summary['largest']}, "
        f"smallest {summary['smallest']}; {summary['images']['test']} test samples"
    )


def prepare_features(imported: ImportedFeatures, shipped: bool = False) -> Prepared:
    """Index cached features as images are: a row a sample, its content hashed.

    What is `shipped` comes with what repeats among its images, rows would say it again.
    """
    labels = [imported.splits[split][1] for split in imported.splits]
    listing = Listing(
        root=Path("."),
        paths=np.array(
            [
                f"{split}/{row}"
                for split, part in zip(imported.splits, labels, strict=True)
                for row in range(len(part))
            ]
        ),
        labels=np.concatenate(labels),
        splits=np.repeat(list(imported.splits), list(map(len, labels))),
        class_names=tuple(str(label) for label in range(imported.num_classes)),
    )
    hashes = [
        hashlib.sha256(row.tobytes()).hexdigest()[:16]
        for features, _ in imported.splits.values()
        for row in features
    ]
    notes = tuple(f"Cached features: {note}." for note in imported.notes)
    doubts = imported.doubts
    if not shipped:
        features = [features for features, _ in imported.splits.values()]
        alike = one_hash_up_to_rounding(features, np.array(hashes))
        repeats = find_repeats(listing, alike)
        notes, doubts = (*notes, *repeats.notes), (*doubts, *repeats.doubts)
        if rounded := int((alike != hashes).sum()):
            notes += (f"{rounded:,} samples are another one's but for rounding.",)
    return Prepared(listing, np.array(hashes), None, notes, doubts)


def refuse_short_cascade(
    name: str, counts: Sequence[int], cascade: CascadeSettings
) -> None:
    """Refuse filters that one class alone may be left for, before anything trains.

    counts: (C,) training samples of each class. Raises BadInput: the first filter, for
    which rare classes are likelier, may take out all of them but the largest.
    """
    total, rarer = sum(counts), sum(counts) - max(counts)
    leaving = total - int(total * (1 - cascade.leaving_share))
    if cascade.depth > 1 and rarer <= leaving:
        raise BadInput(
            f"{name}: expected 2 classes for each of {cascade.depth} filters, got "
            f"perhaps 1 after the first: rare classes leave first, {leaving:,} of "
            f"{total:,} samples leave, and all classes but the largest have "
            f"{rarer:,}; set cascade.depth to 1, or cascade.leaving_share, which is "
            f"{cascade.leaving_share:g}, lower"
        )


def unbalanced(listing: Listing) -> list[str]:
    """What Overall is where the test set's classes are of different sizes."""
    sizes = np.bincount(listing.labels[listing.splits == "test"])
    sizes = sizes[sizes > 0]
    if sizes.min() == sizes.max():
        return []
    return [
        f"The test set is unbalanced ({sizes.min():,} to {sizes.max():,} samples a "
        "class): Overall is the mean over samples, so that it favours common classes; "
        "Many, Medium and Few are means over classes."
    ]


def index_of(prepared: Prepared) -> pd.DataFrame:
    """Tidy index: path, label, split, hash."""
    listing = prepared.listing
    columns = {"path": listing.paths, "label": listing.labels, "split": listing.splits}
    return pd.DataFrame(columns | {"hash": prepared.hashes})


def summarise(prepared: Prepared, settings: DataSettings) -> dict:
    """Counts that identify a data set; listed images are hashed in the lists' order."""
    listing = prepared.listing
    num_classes = len(listing.class_names)
    in_split = {split: listing.splits == split for split in SPLITS}
    counts = class_counts(listing.labels[in_split["train"]], num_classes)
    listed = listing.origin is not None
    order = np.arange(len(listing.paths)) if listed else np.argsort(listing.paths)
    return {
        "benchmark": settings.benchmark,
        "stand_in": settings.stand_in,
        "input": "features" if settings.features else "images",
        "classes": num_classes,
        "class_names": list(listing.class_names),
        "class_counts": counts.tolist(),
        "images": {split: int(mask.sum()) for split, mask in in_split.items()},
        "largest": int(counts.max()),
        "smallest": int(counts.min()),
        "imbalance_factor": settings.imbalance_factor,
        "shot_groups": {
            name: int(mask.sum()) for name, mask in shot_groups(counts).items()
        },
        "hash": content_hash(
            prepared.hashes[order].tolist(),
            listing.labels[order].tolist(),
            listing.splits[order].tolist(),
        ),
        **({"origin": listing.origin} if listed else {}),
    }


if __name__ == "__main__":
    run(main, lambda benchmark: f"prepare@{benchmark}")
