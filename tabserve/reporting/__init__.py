"""What a person looks at after a training: plots, model card, and the summary in the terminal.

Shows what it is given. Knows the results of a training and the metadata of a model; doesn't know MLflow or the
registry, and decides nothing.

Importing this package imports matplotlib and scikit-learn. Only the training does that, after its options are checked.
"""

from tabserve.reporting.card import model_card, model_limits
from tabserve.reporting.report import write_report
from tabserve.reporting.summary import dataset_warnings, describe_dataset, headline, training_summary
from tabserve.reporting.tasks import task_reporting

__all__ = [
    "dataset_warnings", "describe_dataset", "headline", "model_card", "model_limits",
    "task_reporting", "training_summary", "write_report",
]  # fmt: skip
