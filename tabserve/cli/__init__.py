"""The commands: their options, progress and messages.

Each command is a module with `main(argv, *, root, program)`, which returns an exit status. `root` is the folder of
`mlruns/`, `artifacts/` and `.env`: the folder of the script, or the working directory of the command `tabserve`.
`program` is the name under which the command was called, for its messages.

This file imports nothing, and `main`, `pipeline`, `bootstrap`, `environment`, `processes` and `addresses` import the
standard library only: `tabserve --help` is fast, and `run_pipeline.py` runs before anything is installed.
"""
