"""What may be said of DLSA in a sentence."""

import pytest

from replication.reporting.headlines import answers, of_print
from replication.reporting.tables import UNDER
from tests.reporting.made import claim


@pytest.mark.parametrize(
    ("gain", "cascade", "answer"),
    [
        ("supported", "supported", "DLSA helps in"),
        # more training alone may do as much
        ("supported", "undecided", "DLSA beats its head, but is not shown to beat"),
        ("undecided", "supported", "DLSA neither clearly helps nor clearly hurts in"),
        ("undecided after correction", "undecided", "DLSA neither clearly helps"),
        ("undecided", "contradicted", "DLSA loses to more training of its head in"),
        ("contradicted", "undecided", "DLSA hurts in"),
    ],
)
def test_dlsa_helps_only_where_the_cascade_does(
    gain: str, cascade: str, answer: str
) -> None:
    verdicts = {"gain_overall": gain, "cascade_helps": cascade, "drop_no_mle": "-"}
    said = answers(
        [claim(id=i, verdict=v, protocol="validated") for i, v in verdicts.items()]
    )
    assert said.startswith(f"{UNDER['validated']}, {answer}")
    word = {"supported": "better", "contradicted": "worse"}.get(gain, gain)
    assert f"points against the head that it starts from ({word})" in said
    assert "authors' habits" not in said


def test_of_print_only_what_needs_no_data_is_said() -> None:
    free = {"grade": "none needed", "verdict": "contradicted"}
    claims = [
        claim(statement="Three apart.", **free, unit="", mean=1.7, low=None, high=None),
        claim(
            statement="MCC.",
            **free,
            section="audit",
            mean=-0.013,
            low=-0.024,
            high=-0.002,
        ),
        claim(verdict="contradicted"),
        claim(grade="none needed"),
    ]
    assert of_print(claims) == [
        "“MCC”: it is off by 1.3 ± 1.1 points.",
        "“Three apart”: it comes out as 1.7.",
    ]
