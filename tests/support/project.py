"""Where the project and its interpreter are, and the environment of processes whose coverage isn't measured."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
PENGUINS = ROOT / "examples" / "penguins.csv"
"""A table with numbers, categories and missing values."""


def unmeasured_environment() -> dict[str, str]:
    """The environment of this process, without what makes a Python in it measure coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
