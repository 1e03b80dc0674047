"""Features on a device, or streamed to it: the same rows, the same numbers."""

import pytest
import torch

from replication.samples import features as samples
from replication.samples.features import Streamed, place

CPU = torch.device("cpu")
TABLE = torch.arange(24, dtype=torch.float32).view(6, 4)


def test_it_answers_as_features_do() -> None:
    streamed = Streamed(TABLE, CPU)
    for rows in (torch.tensor([5, 0, 0]), torch.empty(0, dtype=torch.int64)):
        assert torch.equal(streamed[rows], TABLE[rows])
        assert torch.equal(streamed.index_select(0, rows), TABLE[rows])
    assert torch.equal(streamed[4:9], TABLE[4:9])
    assert (len(streamed), streamed.shape, streamed.device) == (6, (6, 4), CPU)
    assert streamed.new_empty(3, 2).dtype == TABLE.dtype


@pytest.mark.parametrize(
    ("room", "streamed"),
    [(192, []), (191, ["train"]), (47, ["train", "val", "test"])],
)
def test_what_does_not_fit_stays_behind(room, streamed, monkeypatch) -> None:
    """train is 96 bytes, val and test 48 each: 192 together; the largest goes last."""
    monkeypatch.setattr(samples, "room", lambda device: room)
    tables = {"train": TABLE, "val": TABLE[:3], "test": TABLE[3:]}
    placed = place(dict(tables), CPU)
    assert list(placed) == list(tables)
    assert [n for n, one in placed.items() if isinstance(one, Streamed)] == streamed
    for name, one in placed.items():
        assert torch.equal(one[:], tables[name])


@pytest.mark.parametrize("streamed", [(0, 1), (0,), (1,), ()])
def test_joined_features_are_streamed_where_either_is(streamed) -> None:
    parts = [TABLE[:2], TABLE[2:]]
    for number in streamed:
        parts[number] = Streamed(parts[number], CPU)
    both = samples.in_turn(*parts)
    assert isinstance(both, Streamed) == bool(streamed)
    assert torch.equal(both[:], TABLE)
