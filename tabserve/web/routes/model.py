"""`/model/info`."""

from dataclasses import asdict

from fastapi import APIRouter, Response

from tabserve.model import Boolean, Category, Date, Deployment, Feature, model_features
from tabserve.serving import Service, State
from tabserve.settings import Settings
from tabserve.web.model_schemas import ModelReply
from tabserve.web.responses import UNAVAILABLE, json_response

METADATA = {
    "model_type", "trained_at", "parameters", "metrics", "dataset", "by_class", "interval_coverage", "left_out",
    "columns", "limits", "libraries", "git_commit",
}  # fmt: skip
"""What the reply shows of the model's metadata unchanged."""

DEPLOYMENTS = 20
"""How many of the newest deployments the reply shows."""


CATEGORIES = 1000
"""How many categories of a feature the reply shows: if there are more, the most frequent ones."""


def model_routes(settings: Settings, service: Service) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/model/info", summary="The model that is served", response_model=ModelReply,
                responses=UNAVAILABLE)  # fmt: skip
    async def model_info() -> Response:
        """What the model is, how good it was in training, what it was trained on, and where it comes from."""
        state = service.state()
        champion = state.model()
        release = champion.predictor.release
        schema, metadata = release.schema, release.metadata
        features = [
            {
                "name": feature.name,
                "kind": feature.kind,
                "missing": feature.missing,
                **_seen_in_training(feature),
                "importance": sum(metadata.feature_importances[one.name] for one in model_features(feature)),
            }
            for feature in schema.features
        ]
        return json_response(
            {
                "model_version": release.model_version,
                "model_name": settings.model_name,
                "alias": settings.model_alias,
                "registry_version": champion.registry_version,
                "run_id": champion.run_id,
                "live_since": champion.since,
                "challenger": described_challenger(state),
                "journal": [_described(deployment) for deployment in reversed(service.deployments()[-DEPLOYMENTS:])],
                "task": schema.task.kind,
                "target": schema.target,
                **schema.task.model_dump(exclude={"kind"}),
                "features": features,
                "checksum": release.checksum,
                **metadata.model_dump(include=METADATA),
            }
        )

    return router


def described_challenger(state: State) -> dict[str, object] | None:
    """The challenger as replies show it; None if no version is marked as one."""
    challenger = state.challenger
    if challenger is None:
        return None
    version = challenger.version
    return {
        "model_version": version and version.model_version,
        "registry_version": version and version.registry_version,
        "run_id": version and version.run_id,
        "since": challenger.model and challenger.model.since,
        "share": state.challenger_share,
        "reason": challenger.reason,
        "compared": challenger.comparison and challenger.comparison.summary(),
    }


def _described(deployment: Deployment) -> dict[str, object]:
    return {"from" if name == "origin" else name: value for name, value in asdict(deployment).items()}


def _seen_in_training(feature: Feature) -> dict[str, object]:
    match feature:
        case Category():
            counts = list(zip(feature.categories, feature.counts, strict=True))
            told_apart, pooled = counts[: feature.distinct], counts[feature.distinct :]
            return {
                "categories": _most_frequent(told_apart),
                "pooled": _most_frequent(pooled),
                "category_count": len(counts),
            }
        case Boolean():
            return {"trues": feature.trues, "falses": feature.falses}
        case Date():
            return {"first": feature.first, "last": feature.last, "parts": list(feature.part_names)}
    return {"minimum": feature.minimum, "maximum": feature.maximum, "mean": feature.mean, "unit": feature.unit}


def _most_frequent(counts: list[tuple[str, int]]) -> dict[str, int]:
    if len(counts) > CATEGORIES:
        counts = sorted(counts, key=lambda pair: -pair[1])[:CATEGORIES]
    return dict(counts)
