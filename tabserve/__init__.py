"""From a labelled table to a monitored, versioned prediction service."""

__version__ = "1.0.0"
