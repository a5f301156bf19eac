"""Checks of a running API against its contract, over HTTP. Knows nothing of the code that serves it.

`test_api.py` and `tabserve test` call `runner.main`; `runner.TOPICS` are the modules with the checks, one for each
topic. A check is a function `test_…(api)`; its docstring says the promise, and it raises AssertionError if that is
broken. The checks may run against a server in use: they compare before and after, and assume neither an empty history
nor counters at zero.
"""
