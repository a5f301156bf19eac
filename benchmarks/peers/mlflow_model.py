"""MLflow: a pyfunc model around the compiled engine. For scikit-learn's pipeline MLflow has its own flavor."""

from typing import Any

import mlflow
from typing_extensions import override

from benchmarks.peers.model import load


class Compiled(mlflow.pyfunc.PythonModel):
    @override
    def load_context(self, context: Any) -> None:
        self.predict_proba = load()

    @override
    def predict(self, context: Any, model_input: Any) -> Any:
        return self.predict_proba(model_input)


mlflow.models.set_model(Compiled())
