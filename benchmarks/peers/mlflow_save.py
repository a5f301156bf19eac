"""Writes the model in the form that MLflow serves: python -m benchmarks.peers.mlflow_save FOLDER"""

import os
import sys
from pathlib import Path

import joblib
import mlflow

folder = Path(sys.argv[1])
if os.environ["PEER_ENGINE"] == "compiled":
    code = Path(__file__).with_name("mlflow_model.py")
    mlflow.pyfunc.save_model(folder, python_model=str(code), pip_requirements=[])
else:
    pipeline = joblib.load(Path(os.environ["PEER_WORKSPACE"]) / "model.joblib")
    mlflow.sklearn.save_model(
        pipeline, folder, pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle", pip_requirements=[]
    )
