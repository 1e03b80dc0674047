"""Equal samples where a reader expects different ones: leaks, two labels for one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from replication.data.listing import Listing

_CALLED = {"train": "training", "val": "validation", "test": "test"}
# Split -> one that it must share no sample with.
_APART = (("test", "train"), ("test", "val"), ("val", "train"))


@dataclass(frozen=True)
class Repeats:
    """What repeats in a data set.

    Fields: `notes`, a sentence each; `doubts`, those of them that make a number on the
    test set partial, as reasons.
    """

    notes: tuple[str, ...]
    doubts: tuple[str, ...]


def find_repeats(listing: Listing, hashes: np.ndarray) -> Repeats:
    """Hold samples against each other by the hashes (N,) of their contents."""
    table = pd.DataFrame({name: getattr(listing, name) for name in ("paths", "labels")})
    table = table.assign(split=listing.splits, hash=hashes)
    notes, doubts = [], []
    for split, other in _APART:
        here, there = table[table["split"] == split], table[table["split"] == other]
        first = there.drop_duplicates("hash").set_index("hash")["paths"]
        again = here[here["hash"].isin(first.index)]
        if len(again):
            reason = (
                f"{len(again):,} of {len(here):,} {_CALLED[split]} samples are "
                f"{_CALLED[other]} samples too"
            )
            path, digest = again.iloc[0][["paths", "hash"]]
            notes.append(f"{reason}, the first {path} ({first[digest]}).")
            doubts += [reason] if split == "test" else []
    kinds = table.drop_duplicates(["hash", "labels"])
    mixed = kinds[kinds.duplicated("hash", keep=False)]
    if len(mixed):
        both = mixed[mixed["hash"] == mixed["hash"].iloc[0]]["paths"]
        notes.append(
            f"{mixed['hash'].nunique():,} samples are there with more than one label, "
            f"the first as {' and '.join(both)}."
        )
    again = table[table.duplicated(["hash", "labels", "split"])]
    if len(again):
        notes.append(
            f"{len(again):,} of {len(table):,} samples repeat an earlier one of their "
            f"class and split, the first {again['paths'].iloc[0]}."
        )
    return Repeats(tuple(notes), tuple(doubts))
