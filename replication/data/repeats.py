"""Equal samples where a reader expects different ones: leaks, two labels for one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from replication.data.listing import Listing, counted

_CALLED = {"train": "training", "val": "validation", "test": "test"}
# Split -> one that it must share no sample with.
_APART = (("test", "train"), ("test", "val"), ("val", "train"))
# Rows so close, of the samples' spread, are one: bfloat16 moves them by half as much,
# real neighbours lie at 5 % and more. In fewer columns chance would do it.
_ROUNDED, _FEWEST = 5e-3, 4
_LOOKED_UP, _HELD = 8, 64  # random directions that show it, and that prove it


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
            f"{mixed['hash'].nunique():,} of {table['hash'].nunique():,} different "
            f"samples have more than one label, the first as {' and '.join(both)}."
        )
    again = table[table.duplicated(["hash", "labels", "split"])]
    words = "samples repeat an earlier one of their class and split"
    notes += counted(again["paths"].tolist(), len(table), words)
    return Repeats(tuple(notes), tuple(doubts))


def one_hash_up_to_rounding(
    features: Sequence[np.ndarray], hashes: np.ndarray
) -> np.ndarray:
    """Give rows that differ by no more than rounding one hash.

    Args:
        features: (n, D) of each split; hashes: (N,) of all their rows, in turn.
    """
    columns = features[0].shape[1]
    _, first, row = np.unique(hashes, return_index=True, return_inverse=True)
    if columns < _FEWEST or len(first) < 2:
        return hashes
    directions = np.random.default_rng(0).standard_normal((columns, _HELD))
    directions = (directions / _HELD**0.5).astype(np.float32)  # keep distances
    points = np.concatenate([part @ directions for part in features])[first]
    least = _ROUNDED * float(points.var(0).sum()) ** 0.5
    seen = points[:, :_LOOKED_UP]
    reach = 2 * least * (_LOOKED_UP / _HELD) ** 0.5
    _, nearest = KDTree(seen).query(seen, 2, distance_upper_bound=reach)
    here = np.arange(len(first))
    other = np.where(nearest[:, 0] == here, nearest[:, 1], nearest[:, 0])
    here, other = (rows[other < len(first)] for rows in (here, other))
    near = np.linalg.norm(points[here] - points[other], axis=1) <= least
    pairs = coo_array(
        (near[near], (here[near], other[near])), shape=(len(first), len(first))
    )
    _, group = connected_components(pairs, directed=False)
    _, representative = np.unique(group, return_index=True)
    return hashes[first[representative[group]]][row]
