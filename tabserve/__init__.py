"""From a labelled table to a monitored, versioned prediction service. Why it is built so: docs/decisions.md."""
