"""Tables of versions and deployments, as text with aligned columns for a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tabserve.model.versions import Deployment
from tabserve.training import METRICS, metric_text

if TYPE_CHECKING:
    from tabserve.registry import ListedVersion


def version_table(
    versions: "Sequence[ListedVersion]",
    metrics: Sequence[Mapping[str, float]],
    deployments: Sequence[Deployment],
    alias: str,
) -> str:
    """A line for each version, with the metrics of its run and the last deployment that made it live."""
    latest = {deployment.to: deployment for deployment in deployments if deployment.alias == alias}
    measurable = [name for task_metrics in METRICS.values() for name in task_metrics.headline]
    names = [name for name in measurable if any(f"test_{name}" in measured for measured in metrics)]
    head = ["version", "model version", "registered (UTC)", *names]
    lines = [[*head, "alias", "last made live"]]
    for listed, measured in zip(versions, metrics, strict=True):
        number = listed.version.registry_version
        values = [metric_text(measured[f"test_{name}"]) if f"test_{name}" in measured else "" for name in names]
        aliases = ", ".join(f"{name} (live)" if name == alias else name for name in listed.aliases)
        created = f"{listed.created:%Y-%m-%d %H:%M}"
        deployment = latest.get(number)
        cause = f"{_when(deployment)[:16]} by {deployment.who}: {deployment.why}".lstrip() if deployment else ""
        lines.append([number, listed.version.model_version, created, *values, aliases, cause])
    return aligned(lines)


def journal_table(deployments: Sequence[Deployment], versions: "Sequence[ListedVersion]") -> str:
    """A line for each deployment, the newest first. One that isn't recorded yet has no number and no time."""
    names = {listed.version.registry_version: listed.version.model_version for listed in versions}
    lines = [["number", "when (UTC)", "alias", "from", "to", "model version", "who", "why"]]
    for deployment in reversed(deployments):
        number = str(deployment.number) if deployment.recorded else "-"
        who = f"{deployment.who}, rollback" if deployment.rollback else deployment.who
        origin, to = deployment.origin or "-", deployment.to or "-"
        name = names.get(to, "")
        lines.append([number, _when(deployment), deployment.alias, origin, to, name, who, deployment.why])
    return aligned(lines)


def _when(deployment: Deployment) -> str:
    return deployment.when[:19].replace("T", " ") if deployment.recorded else ""


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """The lines with each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(row.rstrip() for row in rows)
