"""What may be said of DLSA in one line, and on what evidence."""

import pytest

from replication.reporting.headlines import answers, headlines, of_print
from replication.statistics.results import Claim, Measurement
from tests.reporting.made import DATA, claim, measurement

TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist"}


def asked(gain: str, cascade: str, protocol: str = "validated") -> list[Claim]:
    verdicts = {"gain_overall": gain, "cascade_helps": cascade}
    return [
        claim(id=name, verdict=verdict, protocol=protocol)
        for name, verdict in verdicts.items()
    ]


@pytest.mark.parametrize(
    ("gain", "cascade", "answer"),
    [
        ("supported", "supported", "DLSA helps in"),
        # more training alone may do as much
        ("supported", "undecided", "DLSA is better than its head, but not shown"),
        ("undecided", "supported", "DLSA neither clearly helps nor clearly hurts in"),
        ("undecided after correction", "undecided", "DLSA neither clearly helps"),
        ("contradicted", "undecided", "DLSA hurts in"),
    ],
)
def test_dlsa_helps_only_where_the_cascade_does(
    gain: str, cascade: str, answer: str
) -> None:
    said = answers([*asked(gain, cascade), claim(id="drop_no_mle")])
    assert said.keys() == {"validated"}
    assert said["validated"].startswith(answer)
    assert f"points against the head that it starts from ({gain})" in said["validated"]


def table(
    recipe: str, section: str = "table2", stand_in: bool = False, **changes: object
) -> Measurement:
    made = measurement(section=section, claims=tuple(asked("undecided", "undecided")))
    about = made.about | {"recipe": recipe}
    data = DATA | {"stand_in": stand_in}
    return measurement(
        section=section, claims=made.claims, about=about, data=data, **changes
    )


def test_a_headline_needs_the_papers_data_or_scaled_settings() -> None:
    for recipe, places in {
        "published": (1, 0),
        "scaled": (1, 0),
        "verbatim": (0, 1),
    }.items():
        lines = headlines([table(recipe)], TITLES)
        assert tuple(map(len, lines)) == places
        assert headlines([table(recipe, stand_in=True)], TITLES) == ([], [])
    (line,), _ = headlines([table("scaled")], TITLES)
    assert line.startswith(
        "**Places-LT** (real data, scaled; 41 of 74 settings are guesses; one backbone)"
    )


def test_table_2_speaks_for_a_benchmark_and_table_1_where_there_is_none() -> None:
    both = [table("scaled"), table("published", "table1")]
    assert "real data, scaled" in headlines(both, TITLES)[0][0]
    lines, _ = headlines([*both, table("scaled", "table1", benchmark="inat18")], TITLES)
    assert len(lines) == 2


def test_of_print_only_what_needs_no_data_is_said() -> None:
    free = {"grade": "none needed", "verdict": "contradicted"}
    claims = [claim(statement="MCC.", **free), claim(verdict="contradicted")]
    assert of_print([*claims, claim(grade="none needed")]) == ["MCC."]
