"""Every page of the reports: which measurement it shows, and how it is put together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replication.published.reader import PublishedTable
from replication.reporting.claims import claims_page
from replication.reporting.provenance import disagreements, each_once
from replication.reporting.rendering import origin, render, warned
from replication.reporting.summary import summarise_summary, summary_section
from replication.sections.audit.page import audit_page, summarise_audit
from replication.sections.confusion.page import confusion_page
from replication.sections.confusion.page import summarise as summarise_confusion
from replication.sections.diagnosis.page import diagnosis_page, summarise_diagnosis
from replication.sections.estimator.page import estimator_page, summarise_estimator
from replication.sections.separation.page import separation_page, summarise_separation
from replication.sections.settings.discrepancies import discrepancies_page
from replication.sections.settings.page import hyperparameters_page
from replication.sections.settings.page import summarise as summarise_settings
from replication.sections.sigma.page import sigma_page, summarise_sigma
from replication.sections.table1 import page as table1
from replication.sections.table2 import page as table2

Measured = Mapping[str, Any]
Section = Callable[[Measured, str, str], tuple[str, dict[str, str]]]


@dataclass(frozen=True)
class Kind:
    """A measurement that is made benchmark by benchmark, and its page.

    Fields: `name` of the stage, of its JSON and of the page; `listed` the list in
    params.yaml; `called` what a reader calls it; `section` makes the Markdown of one
    benchmark and its figures; `finding` says it in words.
    """

    name: str
    listed: str
    called: str
    section: Section
    finding: Callable[[Measured], str]


@dataclass(frozen=True)
class Page:
    """A page ready to be written: its file, entries for the index, text, figures."""

    file: str
    entries: tuple[Mapping[str, str], ...]
    text: str
    figures: Mapping[str, str]


def kinds(tables: Mapping[str, PublishedTable]) -> tuple[Kind, ...]:
    """The pages that are made benchmark by benchmark, in the order of the index.

    Args:
        tables: as printed.
    """

    def of_table(module: Any, name: str) -> Section:
        def section(
            measured: Measured, title: str, folder: str
        ) -> tuple[str, dict[str, str]]:
            make = getattr(module, f"{name}_section")
            return make(measured, tables[name], title, folder)

        return section

    return (
        Kind(
            "table1",
            "comparison",
            "Table 1",
            of_table(table1, "table1"),
            table1.summarise,
        ),
        Kind(
            "table2",
            "ablation",
            "Table 2",
            of_table(table2, "table2"),
            table2.summarise,
        ),
        Kind(
            "confusion",
            "confusion",
            "Confusion matrices (Sect. 4)",
            confusion_page,
            summarise_confusion,
        ),
        Kind(
            "separation",
            "separation",
            "Fig. 2, separation (Sect. 1)",
            separation_page,
            summarise_separation,
        ),
        Kind(
            "estimator",
            "selection",
            "Momentum estimator (Sect. 2)",
            estimator_page,
            summarise_estimator,
        ),
        Kind(
            "sigma",
            "selection",
            "Selection of σ (Sect. 3)",
            sigma_page,
            summarise_sigma,
        ),
        Kind(
            "diagnosis",
            "diagnosis",
            "What DLSA would need",
            diagnosis_page,
            summarise_diagnosis,
        ),
    )


def benchmark_page(
    kind: Kind, measured: Sequence[Measured], titles: Mapping[str, str]
) -> Page:
    """One kind of measurement on every benchmark that it was made on.

    Args:
        measured: what the stage wrote, a benchmark each; none: the page says so.
        titles: of the benchmarks.
    """
    file = f"{kind.name}.md"
    if not measured:
        words = f"Not run: params.yaml lists no benchmark under `{kind.listed}`."
        entry = {"name": kind.called, "link": file, "data": "none", "finding": words}
        return Page(file, (entry,), f"# {kind.called}\n\n{words}\n", {})
    sections, entries, figures = [], [], {}
    for one in measured:
        benchmark, data = one["benchmark"], one["data"]
        folder = f"figures/{kind.name}-{benchmark}"
        text, drawn = kind.section(one, titles[benchmark], folder)
        warnings = _warnings(one)
        sections.append(warned(text, warnings))
        figures |= {f"{folder}/{name}": svg for name, svg in drawn.items()}
        entries.append(
            {
                "name": f"{kind.called} on {titles[benchmark]}",
                "link": file,
                "data": _data_in_words(data),
                "finding": kind.finding(one) + _marked(warnings),
            }
        )
    return Page(file, tuple(entries), "\n---\n\n".join(sections), figures)


def suite_pages(audit: Measured, ledger: Measured) -> tuple[Page, ...]:
    """The pages that no data is behind: audit, hyper-parameters, discrepancies."""
    behind = {"audit": audit, "hyperparameters": ledger, "discrepancies": ledger}
    audited, bounds = audit_page(audit)
    records = [one for some in ledger["benchmarks"].values() for one in some]
    rows = (
        ("audit", "Audit of the printed numbers", audited, summarise_audit(audit)),
        (
            "hyperparameters",
            "Hyper-parameters (Sect. 5)",
            hyperparameters_page(ledger)[0],
            summarise_settings(records),
        ),
        (
            "discrepancies",
            "Discrepancies",
            discrepancies_page(ledger)[0],
            f"{len(ledger['discrepancies'])} places where supplement, released code "
            "and this suite differ, or the supplement is silent.",
        ),
    )
    pages = []
    for name, called, text, finding in rows:
        warnings = _warnings(behind[name])
        entry = {"name": called, "link": f"{name}.md", "data": "none needed"}
        figures = {f"figures/{name}/{key}": svg for key, svg in bounds.items()}
        pages.append(
            Page(
                f"{name}.md",
                (entry | {"finding": finding + _marked(warnings)},),
                warned(text, warnings),
                figures if name == "audit" else {},
            )
        )
    return tuple(pages)


def claims_overview(
    measured: Mapping[str, Sequence[Measured]], titles: Mapping[str, str]
) -> Page:
    """Every sentence of the supplement that could be wrong, with what was found."""
    text, finding = claims_page(measured, titles)
    every = [one for some in measured.values() for one in some]
    runs = each_once(run for one in every for run in one["runs"])
    stale = list(dict.fromkeys(said for one in every for said in one.get("stale", ())))
    warnings = _warnings({"runs": runs, "stale": stale})
    if runs:
        hashes = sorted({one["data"]["hash"] for one in every})
        text += "\n" + origin(", ".join(hashes), "dvc repro", runs) + "\n"
    entry = {
        "name": "Claims",
        "link": "claims.md",
        "data": "all of the below",
        "finding": finding + _marked(warnings),
    }
    return Page("claims.md", (entry,), warned(text, warnings), {})


def summary_page(
    measured: Mapping[str, Sequence[Measured]], titles: Mapping[str, str]
) -> Page:
    """The half page to cite, for every benchmark that Table 2 was measured on."""
    sections, entries = [], []
    for benchmark in [one["benchmark"] for one in measured["table2"]]:
        mine = {
            name: one
            for name, some in measured.items()
            for one in some
            if one["benchmark"] == benchmark
        }
        title = titles[benchmark]
        runs = [run for one in mine.values() for run in one["runs"]]
        stale = [said for one in mine.values() for said in one.get("stale", ())]
        together = {"runs": each_once(runs), "stale": list(dict.fromkeys(stale))}
        warnings = _warnings(together)
        sections.append(warned(summary_section(mine, title), warnings))
        entries.append(
            {
                "name": f"Summary: does DLSA help on {title}?",
                "link": "summary.md",
                "data": _data_in_words(mine["table2"]["data"]),
                "finding": summarise_summary(mine) + _marked(warnings),
            }
        )
    words = "Not run: params.yaml lists no benchmark under `ablation`."
    if not sections:
        entry = {"name": "Summary", "link": "summary.md", "data": "none"}
        entries, sections = [entry | {"finding": words}], [f"# Summary\n\n{words}\n"]
    return Page("summary.md", tuple(entries), "\n---\n\n".join(sections), {})


def index_page(pages: Iterable[Page]) -> str:
    """reports/README.md: every page with its data and its finding, claims first."""
    return render(
        "reporting/templates/README.md.j2",
        pages=[e for page in pages for e in page.entries],
    )


def _warnings(measured: Measured) -> list[str]:
    """What keeps the runs behind a page from being one run of this checkout."""
    warnings = disagreements(measured["runs"])
    if stale := measured.get("stale"):
        warnings.append(f"Stale: {' '.join(stale)} Run `dvc repro`.")
    return warnings


def _marked(warnings: Sequence[str]) -> str:
    """The index sends readers to a warning; it does not repeat it."""
    return " **See the warning at its top.**" if warnings else ""


def _data_in_words(data: Mapping[str, Any]) -> str:
    return "stand-in" if data["stand_in"] else f"{data['input']} `{data['hash']}`"
