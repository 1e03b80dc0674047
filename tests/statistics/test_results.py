"""What kind of evidence a number is."""

import pytest

from replication.statistics.results import grade_of


@pytest.mark.parametrize(
    ("recipe", "grade"),
    [
        ("published", "paper's data"),
        ("scaled", "real data, scaled"),
        ("verbatim", "real data, verbatim"),
    ],
)
def test_the_grade_is_that_of_data_and_settings(recipe: str, grade: str) -> None:
    about = {"recipe": recipe}
    assert grade_of({"stand_in": False}, about) == grade
    assert grade_of({"stand_in": True}, about) == "stand-in"
