"""The loaded model: follows the registry, loads and verifies beside, swaps, and compares a challenger in the shadow.

Knows where models come from only as `Source`. Doesn't know MLflow, HTTP, or how a request is decoded.
"""

from tabserve.serving.challenger import Challenger
from tabserve.serving.executor import BatchExecutor
from tabserve.serving.loader import LoadedModel, Source
from tabserve.serving.service import Service, State

__all__ = ["BatchExecutor", "Challenger", "LoadedModel", "Service", "Source", "State"]
