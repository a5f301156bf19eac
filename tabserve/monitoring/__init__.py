"""What is observed of predictions: counters, the history of the last ones, and how two models differ.

Knows prediction records and the tasks of models. Doesn't know HTTP, the registry, or which model is live. Promises that
memory doesn't grow with traffic, and that observing a record blocks for microseconds only. `tasks` chooses what is
monitored of a kind of task.

Importing it imports prometheus_client (25 ms), so commands import it only where they need it.
"""

from tabserve.monitoring.comparison import ShadowComparison, median_latencies
from tabserve.monitoring.history import HISTORY_SIZE, History
from tabserve.monitoring.metrics import Metrics
from tabserve.monitoring.service_metrics import ReloadFailure, Status
from tabserve.monitoring.tasks import compare_outputs

__all__ = [
    "HISTORY_SIZE", "History", "Metrics", "ReloadFailure", "ShadowComparison", "Status", "compare_outputs",
    "median_latencies",
]  # fmt: skip
