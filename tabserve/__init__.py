"""tabserve: from a labelled table to a monitored, versioned prediction service.

Importing this package loads no other module: `run_pipeline.py` does so before any dependency is installed.
"""

__version__ = "1.0.0"
