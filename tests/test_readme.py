"""README's findings are what the committed pages say."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FINDINGS = re.findall(
    r"^\d\. .*?(?=^\d\. |^\S)",
    (ROOT / "README.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
# 48.6 %, 94 %, −0.33 ± 0.32, 0.61, 71.1; not the numbers in names such as CIFAR-100.
_NUMBER = re.compile(r"−?\d+\.\d+(?: ± \d+\.\d+)?|\d+ %")


def committed(page: str) -> str:
    """A page as it was committed: a run of the user's own may have made it anew."""
    asked = ["git", "show", f"HEAD:{page}"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{page}: no committed page to compare with")
    return done.stdout


def test_readme_has_findings() -> None:
    assert len(FINDINGS) == 3


@pytest.mark.parametrize("finding", FINDINGS, ids=[text[:24] for text in FINDINGS])
def test_every_number_of_a_finding_stands_on_a_page_that_it_links(finding: str) -> None:
    pages = re.findall(r"\]\(((?:reports|kept)/[^)]+\.md)\)", finding)
    text = "\n".join(map(committed, pages))
    numbers = [" ".join(number.split()) for number in _NUMBER.findall(finding)]
    assert pages and numbers
    missing = [n for n in numbers if n.removesuffix(" %") not in text]
    assert not missing
