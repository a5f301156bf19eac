"""A registry with versions, as the tests of it need one."""

from pathlib import Path

from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.registry import RELEASE, Registry, runs
from tests.support.models import Trained

NAMES = ("20260101_000000", "20260101_000001", "20260101_000002")


def train(registry: Registry, trained: Trained, model_version: str) -> RegisteredVersion:
    """Logs and registers a release as a training does; the model in MLflow is an empty one."""
    release = trained.release(registry.artifacts / model_version / RELEASE, model_version)
    with runs.start(registry, "iris-classifier", model_version, "token") as run:
        run.log_folder(registry.artifacts / model_version)
        model = registry.connect().create_logged_model(run.experiment_id, "model", source_run_id=run.run_id)
        run.log_metrics({"test_accuracy": 0.9}, model)
        version = run.register(model, release, "a description")
        run.finish()
    return version


def move_by_hand(registry: Registry, number: str, alias: str = "champion") -> None:
    registry.connect().set_registered_model_alias(registry.model_name, alias, number)


def steps(deployments: list[Deployment]) -> list[tuple[str, str | None, str | None]]:
    return [(deployment.alias, deployment.origin, deployment.to) for deployment in deployments]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
