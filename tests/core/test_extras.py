"""What messages and pages say to install is ours, by the name that the package index knows."""

import re
import subprocess
import tomllib

import pytest

from pipeline.core.extras import DISTRIBUTION, install_extra
from tests.support.module_graph import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_command_installs_an_extra_of_this_distribution() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert install_extra("offline") == "pip install 'painter-gan[offline]'"


def test_nothing_says_to_install_a_strangers_package() -> None:
    words = ["git", "grep", "-hoE", r"pip3? install [^`]*\bpainter[^`]*", "--"]
    of_now = [":!tests/fixtures", ":!docs/LOG.md"]
    done = subprocess.run([*words, *of_now], cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip("a copy that git does not know")
    for line in done.stdout.splitlines():
        assert not re.search(r"\bpainter(?!-gan)\b", line.replace("painter/", "")), line


def test_the_text_for_the_package_index_names_it_and_leads_nowhere() -> None:
    text = (ROOT / PROJECT["readme"]).read_text()
    asked = re.search(r"pip install '([\w-]+)\[([\w,]+)\]'", text)
    assert asked
    assert asked[1] == DISTRIBUTION
    assert set(asked[2].split(",")) <= set(PROJECT["optional-dependencies"])
    assert all(link.startswith("https://") for link in re.findall(r"\]\(([^)]+)\)", text))
    assert "<img" not in text
