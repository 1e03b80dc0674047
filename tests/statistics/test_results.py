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


def test_without_a_word_on_the_settings_there_is_no_grade() -> None:
    """Never a silent one."""
    with pytest.raises(KeyError, match="recipe"):
        grade_of({"stand_in": False}, {})
