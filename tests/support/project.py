"""Where the project and its interpreter are."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
PENGUINS = ROOT / "examples" / "penguins.csv"
"""A table with numbers, categories and missing values."""
