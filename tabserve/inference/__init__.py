"""From rows to prediction records.

Knows the model and its task. Doesn't know HTTP, the registry, or who observes the records. Promises that a record holds
the inputs as the caller sent them and the outputs of the model that predicted them.
"""

from tabserve.inference.predict import predict, predict_batch
from tabserve.inference.records import BatchPrediction, Observer, Prediction, Record

__all__ = ["BatchPrediction", "Observer", "Prediction", "Record", "predict", "predict_batch"]
