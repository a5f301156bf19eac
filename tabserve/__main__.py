"""`python -m tabserve` is the command `tabserve`."""

import sys

from tabserve.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
