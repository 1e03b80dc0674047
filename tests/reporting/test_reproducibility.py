"""The reproducibility report."""

from dataclasses import replace

from replication.published.reader import read_published_claims
from replication.reporting.reproducibility import reproducibility_page
from replication.statistics.results import Claim
from tests.reporting.made import claim
from tests.reporting.test_evidence import run

SENTENCES = read_published_claims()
HEADINGS = ("Scope", "Method", "Results", "What was easy", "What was difficult")


def page(claims: list[Claim], grade: str) -> str:
    made = run("supported", grade)
    guesses = {"Places-LT": {"count": 41, "of": 74}}
    return reproducibility_page(SENTENCES, claims, [made], guesses, 50)


def test_it_has_the_form_that_others_use_and_fits_a_page() -> None:
    text = page(
        [claim(sentence="s7_losses", protocol="validated")], "real data, scaled"
    )
    places = [text.index(f"## {name}") for name in HEADINGS]
    assert places == sorted(places)
    assert text.strip().split("## Contact with the authors\n\n")[1].startswith("None.")
    assert len(text.split()) < 500


def test_its_numbers_are_those_of_the_results() -> None:
    tested = claim(sentence="s7_losses", protocol="validated")
    wrong = replace(
        tested, sentence="s6_mcc", grade="none needed", verdict="contradicted"
    )
    text = page([tested, wrong], "real data, scaled")
    assert f"{len(SENTENCES)} of its sentences could be wrong; 2 were put" in text
    assert "differ at 50 points" in text
    assert "for 41 of the 74 settings on Places-LT." in text
    assert "1 printed statement fails without any data. The paper's own data" in text
    assert "own data has not been run" not in page([tested], "paper's data")
