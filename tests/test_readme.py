"""README's findings are what the committed pages say, its commands what CI runs."""

import re

import pytest

from tests.made import ROOT
from tests.test_pages import committed

README = (ROOT / "README.md").read_text()
FINDINGS = re.findall(r"^\d\. .*?(?=^\d\. |^\S)", README, re.MULTILINE | re.DOTALL)
# 48.6 %, 94 %, −0.33 ± 0.32, 0.61, 71.1; not the numbers in names such as CIFAR-100.
_NUMBER = re.compile(r"−?\d+\.\d+(?: ± \d+\.\d+)?|\d+ %")


def test_readme_has_findings() -> None:
    assert len(FINDINGS) == 3


@pytest.mark.parametrize("finding", FINDINGS, ids=[text[:24] for text in FINDINGS])
def test_every_number_of_a_finding_stands_on_a_page_that_it_links(finding: str) -> None:
    """As it was committed: a run of the user's own may have made it anew."""
    pages = re.findall(r"\]\(((?:reports|kept)/[^)]+\.md)\)", finding)
    if not committed():
        pytest.skip("no committed page to compare with")
    text = "\n".join(map(committed().get, pages)).replace("\N{NO-BREAK SPACE}", " ")
    numbers = [" ".join(number.split()) for number in _NUMBER.findall(finding)]
    assert pages and numbers
    missing = [n for n in numbers if n.removesuffix(" %") not in text]
    assert not missing


# --- commands

_FENCED = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_a_command_is_run_by_ci_or_says_what_it_needs() -> None:
    """`# needs ...` stands in its own line, or in a comment above it."""
    ci = (ROOT / ".ci/run").read_text()
    ci += "source .venv/bin/activate\n"  # CI puts it on its PATH
    ci += "git checkout HEAD . && make repro\n"  # CI starts from a checkout
    commands = []
    for block in (text for language, text in _FENCED if not language):
        needs = False
        for line in block.replace("\\\n", " ").splitlines():
            needs |= line.startswith("# needs")
            command, _, comment = line.partition("  #")
            if line and not line.startswith("#") and "needs" not in comment:
                commands.append((needs, command.strip()))
    assert len(commands) > 15
    missing = [c for needs, c in commands if not needs and c not in ci]
    assert missing == []


def test_readme_is_short_and_its_first_screen_says_what_is_and_how() -> None:
    assert len(README.split()) <= 1500
    first = [README.index(said) for said in ("**Not run yet**", "make repro", "\n## ")]
    assert first == sorted(first)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []
