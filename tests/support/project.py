"""Where the project is."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
PENGUINS = ROOT / "examples" / "penguins.csv"
