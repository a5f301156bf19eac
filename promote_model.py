"""Lists the versions of the model, makes one of them live, and helps to decide.

    python promote_model.py                           lists the versions
    python promote_model.py 3 --why "passed review"   makes version 3 live; 20241201_143022 names it too
    python promote_model.py --rollback                makes the version live that was live before
    python promote_model.py --challenger 4            marks a candidate to watch
    python promote_model.py --compare 4               what it would have answered to the newest predictions
    python promote_model.py --prune --keep 10         removes old versions
    python promote_model.py --journal                 every deployment so far: when, who, what, why

Options, actions and messages are in `tabserve/cli/promote.py`.
"""

import sys
from pathlib import Path

try:
    from tabserve.cli import promote
except ModuleNotFoundError as missing:
    sys.exit(f"promote_model.py: {missing}. Enter the project's environment: `. .venv/bin/activate` (README, 'Start')")

if __name__ == "__main__":
    sys.exit(promote.main(root=Path(__file__).resolve().parent, program="promote_model.py"))
