"""The half page to cite: does DLSA help, by how much, under which protocol."""

from collections import Counter
from collections.abc import Mapping, Sequence

from replication.reporting.rendering import data_sentence, notice, render
from replication.reporting.tables import (
    METRIC_NAMES,
    in_unit,
    labels_of,
    markdown_table,
    shown,
)
from replication.statistics.results import Cell, Claim, Measurement, pick
from replication.statistics.selection import CHOICE
from replication.statistics.verdicts import stands

_METRICS = ("overall", "many", "medium", "few")
_PROTOCOLS = {"paper": "paper", "released_code": "released-code"}
_HELPS = {
    "supported": "DLSA helps",
    "contradicted": "DLSA hurts",
    "undecided": "DLSA neither clearly helps nor clearly hurts",
    "not run": "not run",
}
# Rows of Table 2 that DLSA is compared with, as an answer names them.
_OTHERS = {
    "start": "the same features and head without it",
    "balanced_softmax": "a Balanced Softmax head refitted to the same features",
}


def summary_page(
    table2: Measurement, claims: Sequence[Claim], title: str, paper_data: str | None
) -> str:
    """The summary on one benchmark on which Table 2 was measured.

    Args:
        claims: of all sections on this benchmark, and those that need no data.
        title: of the benchmark.
        paper_data: what print's Table 2 is made from; None where it is this benchmark.
    """
    judged = [
        claim
        for claim in claims
        if claim.protocol in (None, "paper") and not claim.timed
    ]
    data, cells = table2.data, table2.cells
    worth = pick(cells, metric=CHOICE)
    overall = pick(cells, method="full", metric="overall", protocol="paper", minus=None)
    return render(
        "reporting/templates/summary.md.j2",
        notice=notice(data, title, paper_data),
        title=title,
        stand_in=data["stand_in"],
        features=table2.about["features"],
        seeds=len(overall.per_seed) if overall else 0,
        data_sentence=data_sentence(data),
        answers=_answers(cells),
        values=_values(cells),
        worth=in_unit(worth) if worth else None,
        judged=len(judged),
        timed=sum(claim.timed for claim in claims),
        verdicts=_counted(judged),
        sentences=_sentences(judged, data["stand_in"]),
    )


def summary_finding(table2: Measurement) -> str:
    """The answers under both protocols, in words."""
    return " ".join(
        f"Under the {name} protocol {answer}."
        for name, answer in _answers(table2.cells).items()
    )


def _answers(cells: Sequence[Cell]) -> dict[str, str]:
    """Protocol -> the answer to the page's question, with what it rests on."""
    answers = {}
    for protocol, name in _PROTOCOLS.items():
        gaps = {
            words: pick(cells, minus=other, protocol=protocol, metric="overall")
            for other, words in _OTHERS.items()
        }
        first = gaps[_OTHERS["start"]]
        parts = [f"{shown(gap)} points against {w}" for w, gap in gaps.items() if gap]
        parts[0:1] = [part.replace("points", "points Overall") for part in parts[0:1]]
        verdict = first.verdict if first and first.verdict else "not run"
        answers[name] = ": ".join(filter(None, (_HELPS[verdict], "; ".join(parts))))
    return answers


def _values(cells: Sequence[Cell]) -> str:
    """The heads without DLSA, and the full model under both protocols, percent."""
    labels = labels_of(cells)
    asked = [(name, "paper", labels.get(name, name)) for name in _OTHERS]
    asked += [
        ("full", protocol, f"DLSA, {name} protocol")
        for protocol, name in _PROTOCOLS.items()
    ]
    rows = []
    for method, protocol, label in asked:
        some = [
            pick(cells, method=method, protocol=protocol, metric=metric, minus=None)
            for metric in _METRICS
        ]
        if all(some):
            rows.append([label, *(shown(cell) for cell in some)])
    return markdown_table(
        ["Percent"] + [METRIC_NAMES[metric] for metric in _METRICS], rows
    )


def _counted(claims: Sequence[Claim]) -> str:
    """How many tests came out how, in words; they add up."""
    counts = Counter(claim.verdict for claim in claims)
    named = [word for word in _HELPS if counts[word] or word != "not run"]
    return ", ".join(f"{counts[word]} {word}" for word in named)


def _sentences(claims: Sequence[Claim], stand_in: bool) -> Mapping[str, list[str]]:
    """Heading -> tests that were decided: sentence, what is compared, its estimate.

    What needs no data stands apart: it is about the paper, whatever data is at hand.
    """
    on = "on the stand-in" if stand_in else "on this data"
    sentences: dict[str, list[str]] = {}
    for free, where in ((False, on), (True, "whatever the data")):
        for heading, verdict in (
            ("Carried over", "supported"),
            ("Contradicted", "contradicted"),
        ):
            sentences[f"{heading} {where}"] = [
                _sentence(claim)
                for claim in claims
                if claim.verdict == verdict and (claim.grade == "none needed") == free
            ]
    return sentences


def _sentence(claim: Claim) -> str:
    mark = " †" if stands(claim, "holm_all") is False else ""
    return f"{claim.statement} *({claim.test}: {in_unit(claim)})*{mark}"
