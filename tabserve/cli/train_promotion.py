"""Whether a new version becomes live, and why."""

from typing import TYPE_CHECKING, NamedTuple

from tabserve.cli.train_options import TrainOptions
from tabserve.errors import NoModelError, ReleaseError
from tabserve.training import ReportProgress, metric_text

if TYPE_CHECKING:
    from tabserve.model import Predictor, RegisteredVersion, Release
    from tabserve.registry import Registry
    from tabserve.training.result import TrainingResult


class Verdict(NamedTuple):
    """What became of a new version.

    Attributes:
        is_live: whether it is live now.
        text: the same in words, with the reason.
    """

    is_live: bool
    text: str


def promote(
    registry: "Registry",
    options: TrainOptions,
    version: "RegisteredVersion",
    release: "Release",
    result: "TrainingResult",
    report_progress: ReportProgress,
) -> Verdict:
    """Makes a new version live, or leaves it a candidate, as --promote says."""
    if options.promote == "never":
        return Verdict(False, f"a candidate; '{registry.alias}' was not moved (--promote never)")
    comparison = ""
    if options.promote == "better":
        from tabserve.model import Predictor

        try:
            champion = Predictor(registry.fetch(registry.champion()))
        except NoModelError:
            pass  # the first model has no champion to beat
        except ReleaseError as error:
            return Verdict(False, f"a candidate; it can't be compared with the champion: {error}")
        else:
            if reason := why_incomparable(champion.release, release):
                return Verdict(False, f"a candidate; {reason}")
            is_better, comparison = compare_with(champion, options, result, report_progress)
            if not is_better:
                return Verdict(False, f"a candidate, not better: {comparison}")
            comparison = f", better: {comparison}"
    registry.move(registry.alias, version, f"{options.program} --promote {options.promote}{comparison}")
    return Verdict(True, f"live as '{registry.alias}'{comparison}")


def why_incomparable(champion: "Release", candidate: "Release") -> str | None:
    """Why the held-out rows can't tell which model is better; None if they can."""
    name = champion.model_version
    if reason := champion.schema.incompatibility(candidate.schema):
        return f"it can't be compared with the champion {name}: {reason}"
    if split_of(champion) == split_of(candidate):
        return None
    return (
        f"the champion {name} was trained on other rows ({split_of(champion)}; here {split_of(candidate)}), so it may "
        "have seen these held-out rows: train with the same seed, test size and table to compare"
    )


def split_of(release: "Release") -> str:
    """What decides which rows were held out: two trainings with the same held out the same rows."""
    parameters, dataset = release.metadata.parameters, release.metadata.dataset
    split_by = f" --split-by {parameters['split_by']}" if "split_by" in parameters else ""
    return f"--seed {parameters['seed']} --test-size {parameters['test_size']}{split_by}, table {dataset.sha256[:12]}"


def compare_with(
    champion: "Predictor", options: TrainOptions, result: "TrainingResult", report_progress: ReportProgress
) -> tuple[bool, str]:
    """Whether the new model is better than the champion on the held-out rows, and the comparison in words."""
    from tabserve.training.evaluation import compare
    from tabserve.training.rows import as_rows

    held_out, task = result.split.held_out, result.schema.task
    comparison = compare(
        options.metric_of(task.kind),
        held_out.target,
        result.evaluation.outputs,
        champion.outputs(as_rows(champion.schema, held_out.features)),
        (task, champion.schema.task),
        options.seed,
        report_progress,
    )
    text = (
        f"{comparison.metric} {metric_text(comparison.candidate)} against {metric_text(comparison.champion)} of "
        f"{champion.model_version} on the same {len(held_out)} rows, difference {metric_text(comparison.low, '+')} to "
        f"{metric_text(comparison.high, '+')} with 95 % confidence"
    )
    if comparison.low <= 0 <= comparison.high:
        text += ", so it may be chance"
    return comparison.candidate_is_better, text
