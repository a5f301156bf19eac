"""Holds the loaded model, follows the registry, and swaps models while requests go on.

Knows models, prediction records, and a `Source` of models. Doesn't know HTTP, MLflow, or how a model was trained.
Promises that a new model is verified before it is served, that a swap is one step which no request notices, that a
failure leaves the present model in place and is reported in the state, and that neither a challenger nor an observer
can fail a request.
"""

from tabserve.serving.executor import BatchExecutor
from tabserve.serving.loader import Source
from tabserve.serving.service import Service
from tabserve.serving.state import Challenger, LoadedModel, State

__all__ = ["BatchExecutor", "Challenger", "LoadedModel", "Service", "Source", "State"]
