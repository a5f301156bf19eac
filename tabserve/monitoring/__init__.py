"""What observes predictions: counters, the history, and the comparison of two models.

Knows prediction records. Doesn't know HTTP, the registry, or how a model is loaded.
"""

from tabserve.monitoring.history import SIZE as HISTORY_SIZE
from tabserve.monitoring.history import History
from tabserve.monitoring.metrics import Metrics

__all__ = ["HISTORY_SIZE", "History", "Metrics"]
