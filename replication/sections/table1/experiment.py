"""Table 1 (Sect. 6): what its numbers show and could be wrong."""

from collections.abc import Sequence

from replication.published.reader import PublishedTable
from replication.sections.basis import Basis
from replication.sections.rows import CASCADE_HELPS, answer_of
from replication.statistics.results import PROTOCOLS, Cell, Claim, pick

# Of rows on a network of their own, which print compares with PaCo's.
OTHER_NETWORK = "the two rows are on two networks, and their training decides too"
FULL, PLAIN, COMPARATOR = "paco_dlsa", "paco", "paco_plain"
_WORDS = {
    "overall": "Overall accuracy",
    "many": "Many-shot accuracy",
    "medium": "Medium-shot accuracy",
    "few": "Few-shot accuracy",
    "mcc": "MCC",
    "nmi": "NMI",
}


def table1_claims(
    cells: Sequence[Cell], table: PublishedTable, basis: Basis
) -> list[Claim]:
    """DLSA's row is in bold: above PaCo + BalSoftmax everywhere, above all in Overall.

    Implements: Sect. 6, Table 1; and whether it is more than training.

    `cells`: of `table_cells`; a row without Cells was not run.
    """
    labels = {key: row.label for key, row in table.rows.items()}
    labels |= {COMPARATOR: "a plain classifier of equal budget"}
    best = f"{labels[FULL]} is the best row in Overall accuracy: better than"
    asked = [
        (PLAIN, metric, f"gain_{metric}", f"DLSA improves {labels[PLAIN]} in {word}.")
        for metric, word in _WORDS.items()
    ] + [
        (row, "overall", f"best_overall_over_{row}", f"{best} {labels[row]}.")
        for row in table.rows
        if row not in (FULL, PLAIN)
    ]
    asked.append((COMPARATOR, "overall", "cascade_helps", CASCADE_HELPS))
    return [
        basis.claim(
            id=name,
            sentence=None if other == COMPARATOR else "s6_bold",
            place="Sect. 6",
            statement=statement,
            test=f"{_WORDS[metric]}, DLSA's row minus {labels[other]}, paired",
            protocol=protocol,
            caveat=OTHER_NETWORK if name.startswith("best_overall") else "",
            **answer_of(pick(cells, minus=other, metric=metric, protocol=protocol)),
        )
        for protocol in PROTOCOLS
        for other, metric, name, statement in asked
    ]
