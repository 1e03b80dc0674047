"""The half page to cite: does DLSA help, by how much, under which protocol."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from replication.reporting import tables
from replication.reporting.claims import shown, test_in_words
from replication.reporting.rendering import data_sentence, notice, origin, render
from replication.sections.table2.page import paper_data
from replication.statistics.selection import selection_worth
from replication.statistics.verdicts import corrected, stands

Measured = Mapping[str, Any]
_ALL = "holm_all"
_METRICS = ("overall", "many", "medium", "few")
_HELPS = {
    "supported": "DLSA helps",
    "contradicted": "DLSA does harm",
    "undecided": "DLSA neither clearly helps nor clearly harms",
    "not run": "not run",
}


def summary_section(measured: Mapping[str, Measured], title: str) -> str:
    """The summary on one benchmark on which Table 2 was measured.

    Args:
        measured: page -> what its stage wrote on this benchmark; `table2` among them.
        title: of the benchmark.
    """
    table2 = measured["table2"]
    records, data = table2["records"], table2["data"]
    claims = corrected([c for one in measured.values() for c in one["claims"]], _ALL)
    judged = [
        claim
        for claim in claims
        if claim.get("protocol") in (None, "paper") and not claim.get("timed")
    ]
    worth = selection_worth(table2["diagnostics"]["full"])
    runs = {run["stage"]: run for one in measured.values() for run in one["runs"]}
    return render(
        "reporting/templates/summary.md.j2",
        notice=notice(data, title, paper_data(data)),
        title=title,
        stand_in=data["stand_in"],
        features=table2["features"],
        seeds=sorted(table2["diagnostics"]["full"], key=int),
        data_sentence=data_sentence(data),
        answers=_answers(records),
        values=_values(records),
        worth=tables.with_interval({**vars(worth), "kind": "difference"}),
        judged=len(judged),
        timed=sum(bool(claim.get("timed")) for claim in claims),
        verdicts=_counted(judged),
        sentences=_sentences(judged, data["stand_in"]),
        pages=sorted(measured),
        origin=origin(data["hash"], "dvc repro", list(runs.values())),
    )


def summarise_summary(measured: Mapping[str, Measured]) -> str:
    """The answers under both protocols, in words."""
    return " ".join(
        f"Under the {name} protocol {answer}."
        for name, answer in _answers(measured["table2"]["records"]).items()
    )


def _answers(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Protocol -> the answer to the page's question, with what it rests on."""
    answers = {}
    for protocol, name in (("paper", "paper"), ("released_code", "released-code")):
        gap = _difference(records, "start", protocol)
        refit = _difference(records, "balanced_softmax", protocol)
        answer = (
            f"{_HELPS[gap['verdict']]}: {tables.with_interval(gap)} points Overall "
            "against the same features and head without it"
        )
        if refit is not None:
            answer += (
                f"; {tables.with_interval(refit)} points against a Balanced Softmax "
                "head refitted to the same features"
            )
        answers[name] = answer
    return answers


def _difference(
    records: Sequence[Mapping[str, Any]], method: str, protocol: str
) -> Mapping[str, Any] | None:
    return tables.find(
        records, kind="difference", method=method, protocol=protocol, metric="overall"
    )


def _values(records: Sequence[Mapping[str, Any]]) -> str:
    """The heads without DLSA, and the full model under both protocols."""
    header = ["Percent"] + [tables.METRIC_NAMES[metric] for metric in _METRICS]
    asked = (
        ("start", "paper", "PaCo + BalSoftmax, no DLSA"),
        ("balanced_softmax", "paper", "BalSoftmax refitted, no DLSA"),
        ("full", "paper", "DLSA, paper protocol"),
        ("full", "released_code", "DLSA, released-code protocol"),
    )
    rows = []
    for method, protocol, label in asked:
        found = [
            tables.find(
                records, kind="value", method=method, protocol=protocol, metric=metric
            )
            for metric in _METRICS
        ]
        if all(found):
            rows.append([label, *(tables.with_interval(one) for one in found)])
    return tables.markdown_table(header, rows)


def _counted(claims: Sequence[Mapping[str, Any]]) -> str:
    """How many tests came out how, in words; they add up."""
    counts = Counter(claim["verdict"] for claim in claims)
    shown = [word for word in _HELPS if counts[word] or word != "not run"]
    return ", ".join(f"{counts[word]} {word}" for word in shown)


def _sentences(
    claims: Sequence[Mapping[str, Any]], stand_in: bool
) -> dict[str, list[str]]:
    """Heading -> tests that were decided: sentence, what is compared, its estimate.

    What needs no data stands apart: it is about the paper, whatever data is at hand.
    """
    on = "on the stand-in" if stand_in else "on this data"
    return {
        f"{heading} {where}": [
            _sentence(claim)
            for claim in claims
            if claim["verdict"] == verdict and claim.get("data_free", False) == free
        ]
        for free, where in ((False, on), (True, "whatever the data"))
        for heading, verdict in (
            ("Carried over", "supported"),
            ("Contradicted", "contradicted"),
        )
    }


def _sentence(claim: Mapping[str, Any]) -> str:
    mark = " †" if stands(claim, _ALL) is False else ""
    return f"{claim['sentence']} *({test_in_words(claim)}: {shown(claim)})*{mark}"
