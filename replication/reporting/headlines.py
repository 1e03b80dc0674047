"""What a run says of DLSA, in words and by rule; and of print, without any data."""

from collections.abc import Iterable, Mapping, Sequence

from replication.reporting.tables import UNDER, in_unit
from replication.statistics.results import Claim, Grade

# Claims of Tables 1 and 2 -> what DLSA is compared with. The first alone mixes more
# training with the cascade.
ASKED = {
    "gain_overall": "the head that it starts from",
    "cascade_helps": "a plain classifier of equal budget",
    "over_refitted": "a Balanced Softmax head refitted to the same features",
}
_BETTER = {"supported": "better", "contradicted": "worse"}
# No headline rests on another grade.
OF_HEADLINES: tuple[Grade, ...] = ("paper's data", "real data, scaled")


def answers(claims: Iterable[Claim]) -> str:
    """Whether DLSA helps in Overall, a sentence a protocol, by claims of one table."""
    claims, sentences = list(claims), []
    for protocol, under in UNDER.items():
        asked = {
            c.id: c
            for c in claims
            if c.protocol == protocol and c.id in ASKED and c.verdict != "not run"
        }
        compared = [
            f"{in_unit(asked[test])} against {words} ({better(asked[test].verdict)})"
            for test, words in ASKED.items()
            if test in asked
        ]
        if compared:
            said = f"{_answer(asked)} in Overall accuracy: {', '.join(compared)}"
            sentences.append(f"{under}, {said}.")
    return " ".join(sentences)


def better(verdict: str) -> str:
    """What the verdict on “DLSA is better” says of DLSA."""
    return _BETTER.get(verdict, verdict)


def _answer(asked: Mapping[str, Claim]) -> str:
    """By its head, and by what as much training does without the cascade."""
    gain, cascade = (
        asked[test].verdict if test in asked else "not run"
        for test in ("gain_overall", "cascade_helps")
    )
    if gain == "supported":
        if cascade == "supported":
            return "DLSA helps"
        return "DLSA beats its head, but is not shown to beat more training of it,"
    if gain == "contradicted":
        return "DLSA hurts"
    if cascade == "contradicted":
        return "DLSA loses to more training of its head"
    return "DLSA neither clearly helps nor clearly hurts"


def of_print(claims: Sequence[Claim]) -> list[str]:
    """What of print is contradicted without any data, with what there is instead."""
    wrong = [
        claim
        for claim in claims
        if claim.grade == "none needed" and claim.verdict == "contradicted"
    ]
    return [
        f"“{claim.statement.rstrip('.')}”: it is off by {in_unit(claim).lstrip('−')}."
        if claim.unit == "points"
        else f"“{claim.statement.rstrip('.')}”: it comes out as {in_unit(claim)}."
        for claim in sorted(wrong, key=lambda claim: claim.section)
    ]
