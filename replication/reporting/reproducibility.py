"""The reproducibility report: one page, in the form that MLRC and ReScience ask for."""

from collections.abc import Mapping, Sequence

from replication.published.reader import Sentence
from replication.reporting.evidence import finding
from replication.reporting.headlines import of_print
from replication.reporting.rendering import render
from replication.reporting.runs import RealRun
from replication.statistics.claims import by_sentence, overall
from replication.statistics.results import Claim


def reproducibility_page(
    sentences: Sequence[Sentence],
    claims: Sequence[Claim],
    real: Sequence[RealRun],
    guesses: Mapping[str, Mapping[str, int]],
    discrepancies: int,
) -> str:
    """Markdown; `guesses`: of a benchmark, in words; `real`: every run on real data."""
    by_quote, _ = by_sentence(sentences, claims)
    guessed = " and ".join(
        f"{of['count']} of the {of['of']} settings on {title}"
        for title, of in guesses.items()
    )
    return render(
        "reporting/templates/reproducibility.md.j2",
        finding=finding(real),
        of_print=of_print(claims),
        sentences=len(sentences),
        tested=sum(bool(overall(*of)) for of in by_quote.items()),
        discrepancies=discrepancies,
        on_paper=any(run.grade == "paper's data" for run in real),
        guesses=f"No source names a value for {guessed}." if guessed else "",
    )
