"""MLflow: a model of its own kind around the compiled engine. scikit-learn's pipeline it serves with its flavor."""

from typing import Any

import mlflow

from benchmarks.peers.model import load


class Compiled(mlflow.pyfunc.PythonModel):
    def load_context(self, context: Any) -> None:  # noqa: ARG002 MLflow gives it by this name
        self.predict_proba = load()

    def predict(self, context: Any, model_input: Any) -> Any:  # noqa: ARG002 MLflow gives it by this name
        return self.predict_proba(model_input)


mlflow.models.set_model(Compiled())
