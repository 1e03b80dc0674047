"""Headlines, by rule: DLSA on real data, and print without any."""

from collections.abc import Iterable, Mapping, Sequence

from replication.reporting.tables import in_unit
from replication.statistics.results import Claim, Grade, Measurement, grade_of

# Claims of Tables 1 and 2 -> what DLSA is compared with. The first alone mixes more
# training with the cascade.
ASKED = {
    "gain_overall": "the head that it starts from",
    "cascade_helps": "a plain classifier of equal budget",
    "over_refitted": "a Balanced Softmax head refitted to the same features",
}
# No headline rests on another grade.
OF_HEADLINES: tuple[Grade, ...] = ("paper's data", "real data, scaled")
_UNDER = {"validated": "validated", "as_released": "as released"}
_HURTS = "DLSA hurts"
_OPEN = "DLSA neither clearly helps nor clearly hurts"


def answers(claims: Iterable[Claim]) -> dict[str, str]:
    """Protocol in words -> whether DLSA helps in Overall, and what that rests on.

    Args:
        claims: of Table 1 or 2 on one benchmark.
    """
    claims, said = list(claims), {}
    for protocol, name in _UNDER.items():
        asked = {c.id: c for c in claims if c.protocol == protocol and c.id in ASKED}
        compared = [
            f"{in_unit(asked[test])} against {words} ({asked[test].verdict})"
            for test, words in ASKED.items()
            if test in asked and asked[test].verdict != "not run"
        ]
        if compared:
            said[name] = f"{_answer(asked)} in Overall: {'; '.join(compared)}"
    return said


def _answer(asked: Mapping[str, Claim]) -> str:
    """By its head, and by what as much training does without the cascade."""
    gain, cascade = (
        asked[test].verdict if test in asked else "not run"
        for test in ("gain_overall", "cascade_helps")
    )
    if gain == "supported":
        if cascade == "supported":
            return "DLSA helps"
        return "DLSA is better than its head, but not shown better than training it on"
    return _HURTS if gain == "contradicted" else _OPEN


def headlines(
    measured: Sequence[Measurement], titles: Mapping[str | None, str]
) -> tuple[list[str], list[str]]:
    """A headline a benchmark, and what stands beside: settings verbatim.

    Args:
        measured: of all sections; Table 2 speaks for a benchmark, or else Table 1.
    """
    tables = {
        table.benchmark: table
        for section in ("table1", "table2")
        for table in measured
        if table.section == section
    }
    lines: dict[bool, list[str]] = {True: [], False: []}
    for benchmark, table in tables.items():
        grade = grade_of(table.data, table.about)
        if grade != "stand-in":
            line = in_a_line(table, titles[benchmark])
            lines[grade in OF_HEADLINES].append(line)
    return lines[True], lines[False]


def in_a_line(table: Measurement, title: str) -> str:
    """What Table 1 or 2 says of DLSA on one benchmark, and what is behind it."""
    grade, guesses = grade_of(table.data, table.about), table.about["guesses"]
    behind = f"{grade}; {guesses['count']} of {guesses['of']} settings are guesses"
    said = " ".join(
        f"Under protocol *{name}* {answer}."
        for name, answer in answers(table.claims).items()
    )
    return f"**{title}** ({behind}; one backbone). {said}"


def of_print(claims: Sequence[Claim]) -> list[str]:
    """What of print is contradicted without any data."""
    return [
        claim.statement
        for claim in claims
        if claim.grade == "none needed" and claim.verdict == "contradicted"
    ]
