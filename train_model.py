"""Trains a model and publishes it: table → split → fit → evaluate → compile → log → register → promote.

python train_model.py                        StandardScaler + RandomForest on Iris, live when it ends
python train_model.py --n-estimators 300 --promote better --metric log_loss
python train_model.py --data penguins.csv --target species --estimator logistic-regression
python train_model.py --search 30 --metric log_loss
"""

import argparse
import contextlib
import gc
import json
import logging
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from tabserve.errors import NoModelError, ReleaseError, SettingsError, TabserveError, TrackingError
    from tabserve.settings import Settings
    from tabserve.store_uri import redacted
    from tabserve.training.config import HYPERPARAMETERS, EstimatorConfig
except ModuleNotFoundError as missing:
    sys.exit(f"train_model.py: {missing}. `. .venv/bin/activate` first, or `python run_pipeline.py`, which makes it")

if TYPE_CHECKING:
    from tabserve.model.release import Release
    from tabserve.model.schema import Schema
    from tabserve.model.versions import RegisteredVersion
    from tabserve.registry import Registry
    from tabserve.registry.runs import Run
    from tabserve.training.dataset import Table
    from tabserve.training.evaluation import Evaluation, ReportProgress
    from tabserve.training.fitting import CrossValidation

ROOT = Path(__file__).resolve().parent

COLUMNS = tuple(f"metrics.`{name}`" for name in ("test_accuracy", "cv_accuracy_mean", "test_f1_macro", "test_log_loss"))
COLUMNS += ("params.`n_estimators`", "params.`max_depth`")
"""What MLflow's page of the experiment shows of each run."""

WHY_LIMITED = "of more, the model could be too large to serve (--max-leaf-nodes sets another limit)"

QUIET = 5
"""Seconds without a word after which it is said how far something is."""

METRIC_CHOICES = ("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "roc_auc_ovr", "log_loss", "brier_score")


def absolute(text: str) -> Path:
    return Path(text).absolute()  # now, for a folder of MLflow's makes its parent the working directory


def whole(least: int, most: int = 10**6) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return number


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1")
    return value


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def features(text: str) -> str | float:
    if text in ("sqrt", "log2"):
        return text
    try:
        return 1.0 if text in ("1", "1.0") else share(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not sqrt, log2, 1, or a share between 0 and 1") from error


def criterion(text: str) -> str:
    if text not in ("gini", "entropy", "log_loss"):
        raise argparse.ArgumentTypeError(f"{text!r} is not gini, entropy or log_loss")
    return text


OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "n_estimators": (whole(1), "number of trees (default: 100)"),
    "max_iter": (whole(1), "trees of each class of gradient boosting (100), or steps of a regression (1000)"),
    "max_depth": (whole(1), "deepest a tree may get (default: no limit)"),
    "min_samples_split": (whole(2), "rows that a node needs to be split (default: 2)"),
    "min_samples_leaf": (whole(1), "rows that each leaf needs (default: 1; of gradient boosting 20)"),
    "max_features": (features, "features tried at each split: sqrt, log2, or a share of them up to 1 (default: sqrt)"),
    "criterion": (criterion, "quality of a split: gini, entropy or log_loss (default: gini)"),
    "max_leaf_nodes": (
        whole(2, 10**9),
        "most leaves of a tree (default: of gradient boosting 31; and as many as take 100 MB in all trees together)",
    ),
    "learning_rate": (positive, "weight of each tree of gradient boosting (default: 0.1)"),
    "l2_regularization": (positive, "of the leaves of gradient boosting (default: none)"),
    "C": (positive, "inverse of the regularization of a regression (default: 1)"),
}
"""Hyperparameters: type, and what they are. Their defaults are scikit-learn's."""

NAMES = {*OPTIONS, "class_weight"}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage="python train_model.py [options]",
        description="Train a RandomForestClassifier on Iris, or any labelled table, log it all to MLflow, publish it.",
        epilog="The same seed and options give the same model. Every setting stands in README.md.",
    )
    default = "(default: %(default)s)"
    model = parser.add_argument_group("model, under scikit-learn's names and meanings")
    model.add_argument(
        "--estimator", choices=HYPERPARAMETERS, default=EstimatorConfig.estimator, help=f"what to train {default}"
    )
    for name, (kind, what) in OPTIONS.items():
        model.add_argument(
            f"--{name.replace('_', '-')}", dest=name, type=kind, metavar=name[0].upper(), help=what,
            default=argparse.SUPPRESS,
        )  # fmt: skip
    model.add_argument(
        "--class-weight", choices=["balanced", "balanced_subsample"], default=argparse.SUPPRESS,
        help="weights for rare classes (default: none)",
    )  # fmt: skip

    model.add_argument(
        "--search", type=whole(2, 500), metavar="N",
        help="try N sets of hyperparameters by cross-validation, and train with the best of them by --metric; what is "
        "given on the command line stays as it is",
    )  # fmt: skip

    data = parser.add_argument_group("data and evaluation")
    data.add_argument(
        "--data", type=absolute, metavar="FILE", help="table of CSV, also compressed, or Parquet (default: Iris)"
    )
    data.add_argument("--target", metavar="COLUMN", help="column of the table that is to be told from the others")
    for option, what in (
        ("--drop", "columns to leave out"),
        ("--id", "columns that only name the row"),
        ("--categorical", "columns whose values are categories, whatever they look like"),
    ):
        data.add_argument(option, nargs="+", action="extend", default=[], metavar="COLUMN", help=what)
    data.add_argument("--test-size", type=share, default=0.2, metavar="SHARE", help=f"share of rows held out {default}")
    data.add_argument("--folds", type=whole(2), default=5, metavar="K", help=f"folds of the cross-validation {default}")
    data.add_argument(
        "--seed", type=whole(0, 2**32 - 1), default=42, metavar="N", help=f"seed of split, folds and forest {default}"
    )

    publishing = parser.add_argument_group("publishing")
    publishing.add_argument(
        "--promote",
        choices=["always", "better", "never"],
        default="always",
        help="make it live: always; only if --metric beats the champion's on the same held-out rows; or never, so that "
        f"it stays a candidate {default}",
    )
    publishing.add_argument(
        "--metric", choices=METRIC_CHOICES, metavar="M",
        help=f"what --search and --promote better compare: {', '.join(METRIC_CHOICES)} (default: f1_macro)",
    )  # fmt: skip
    publishing.add_argument("--unless-trained", action="store_true", help="do nothing if a model is live already")
    publishing.add_argument(
        "--experiment", metavar="NAME", help="MLflow experiment (default: the registered model's name)"
    )
    publishing.add_argument(
        "--model-name",
        metavar="NAME",
        help="registered model (default: the setting, or else the name of the table's file)",
    )
    publishing.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: the setting)")
    options = parser.parse_args(argv)
    if options.metric and options.promote != "better" and not options.search:
        parser.error("argument --metric: it is what --search and --promote better compare; give one of them, too")
    options.metric = options.metric or "f1_macro"
    for name in NAMES & vars(options).keys() - set(HYPERPARAMETERS[options.estimator]):
        others = ", ".join(estimator for estimator, names in HYPERPARAMETERS.items() if name in names)
        parser.error(f"argument --{name.replace('_', '-')}: it is for --estimator {others}, not {options.estimator}")
    is_forest = "n_estimators" in HYPERPARAMETERS[options.estimator]
    if getattr(options, "class_weight", None) == "balanced_subsample" and not is_forest:
        parser.error(f"argument --class-weight: balanced_subsample is for forests; {options.estimator} takes balanced")
    if options.data and not options.target:
        parser.error("argument --data: say by --target which of its columns is to be told from the others")
    for name in ("target", "drop", "id", "categorical"):
        if getattr(options, name) and not options.data:
            parser.error(f"argument --{name}: it is about a table; name that by --data")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # MLflow's file store warns through the root logger of each try of what it raises in the end
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("tabserve").setLevel(logging.WARNING)
    step = Steps()
    try:
        settings = Settings.load(
            ROOT, table=options.data, model_name=options.model_name, tracking_uri=options.tracking_uri
        )
        if options.unless_trained and (live := live_version(settings)):
            print(f"{settings.model_name} {live} is live already: nothing to train")
            return 0
        train(settings, options, step)
    except (TabserveError, OSError) as error:
        for line in str(error).splitlines():
            print(f"train_model.py: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"train_model.py: interrupted; {step.reached}", file=sys.stderr)
        return 130
    return 0


def live_version(settings: Settings) -> str | None:
    from tabserve.registry import open_registry

    store = open_registry(settings)
    try:
        try:
            return store.champion().model_version
        except TrackingError:
            if not store.repair():
                raise
            return store.champion().model_version
    except NoModelError:
        return None


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Has the garbage collector look through what the block makes neither now nor later: what is imported stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def train(settings: Settings, options: argparse.Namespace, step: "Steps") -> None:
    """The recipe, a call a step."""
    # a third of the whole time: what is asked for --help, or mistyped, shouldn't wait for it
    with uncollected():
        from tabserve.model import artifacts
        from tabserve.model.metadata import ModelMetadata
        from tabserve.model.predictor import Predictor
        from tabserve.registry import RELEASE, open_registry, runs
        from tabserve.reporting import report
        from tabserve.training import compiler as export
        from tabserve.training import dataset as data
        from tabserve.training import evaluation as quality
        from tabserve.training import fitting as training
        from tabserve.training import ingest, provenance
        from tabserve.training.estimators import bounded, fitted, hyperparameters, model_type

        store = open_registry(settings)
        store.prepare()
    step.done("import the libraries")

    with (
        artifacts.draft(settings.artifacts_dir, store.has_version, store.mark_killed) as draft,
        runs.start(store, options.experiment or settings.model_name, draft.model_version, draft.token, COLUMNS) as run,
    ):
        if options.data:
            wanted = ingest.ColumnOptions(options.target, options.drop, options.id, options.categorical)
            table = ingest.load(options.data, wanted, least_rows(options))
        else:
            table = data.load_iris()
        parts = data.split(table, options.test_size, options.seed)
        step.done(f"load {table.name}: {len(parts.training)} rows to train, {len(parts.held_out)} held out")
        if options.data:
            suspects = training.leaks(parts.training, options.seed)
            print("\n".join(["", report.described(table), *report.warnings(table, suspects), ""]), flush=True)

        chosen = EstimatorConfig(
            options.estimator, {name: value for name, value in vars(options).items() if name in NAMES}
        )
        recipe = bounded(chosen, len(parts.training), len(table.classes))
        if recipe != chosen:
            print(
                f"         each tree gets at most {recipe.given['max_leaf_nodes']:,} leaves: {WHY_LIMITED}", flush=True
            )
        if options.search:
            recipe, validation = search(chosen, parts.training, options, run, step)
        else:
            doing = f"cross-validate in {options.folds} folds"
            tell = step.during(doing)
            validation = training.cross_validate(parts.training, recipe, options.folds, options.seed, tell)
            step.done(doing)

        pipeline = training.fit(parts.training, recipe, options.seed, step.during("fit"))
        evaluation = quality.evaluate(pipeline, parts.held_out, options.seed, step.during("evaluate"))
        step.done(f"fit {fitted(pipeline)} and evaluate them")

        schema = training.infer_schema(pipeline, parts.training)
        parameters = {
            "estimator": recipe.estimator,
            **hyperparameters(recipe),
            "test_size": options.test_size,
            "folds": options.folds,
            "seed": options.seed,
            **({"search": options.search, "search_metric": options.metric} if options.search else {}),
        }
        metrics = training.named_metrics(validation, evaluation)
        info = {
            "model_name": settings.model_name,
            "model_version": draft.model_version,
            "model_type": model_type(pipeline),
            "run_id": run.run_id,
            "trained_at": draft.started.isoformat(),
            "parameters": parameters,
            "metrics": metrics,
            "confusion_matrix": evaluation.confusion.tolist(),
            "feature_importances": dict(
                zip(
                    evaluation.importances.feature,
                    evaluation.importances[evaluation.importance_kind],
                    strict=True,
                )
            ),
            "dataset": parts.facts().model_dump(),
            "by_class": report.by_class(table, evaluation),
            "left_out": dict(table.left_out),
            "limits": report.limits(parts, schema, pipeline, options.search or 1),
            "libraries": provenance.libraries(),
            "git_commit": provenance.git_commit(ROOT),
        }
        made = export.write_release(
            draft.folder / RELEASE,
            pipeline,
            schema,
            parts.training,
            ModelMetadata.model_validate_json(json.dumps(info)),
        )
        rows = export.probing_rows(pipeline, schema, parts.training, export.PARITY_ROWS, options.seed)
        difference = export.check_parity(pipeline, schema, rows, Predictor(made).outputs(rows))
        closeness = f"within {difference:.0e}" if difference else "to the last bit"
        step.done(f"compile the model: as scikit-learn on {len(rows)} rows, {closeness}")

        card = report.write(draft.folder, schema, pipeline, parts, validation, evaluation, info)
        step.done("draw the plots, write the model card")

        run.log_parameters(parameters | {f"data_{name}": fact for name, fact in info["dataset"].items()})
        run.log_dataset(parts.training.frame, schema.target, table.name, "training")
        run.log_dataset(parts.held_out.frame, schema.target, table.name, "evaluation")
        requirements = [f"{name}=={info['libraries'][name]}" for name in export.MODEL_REQUIREMENTS]
        model = run.log_model(pipeline, parts.training.features, parts.training.target, export.TRUSTED, requirements)
        step.done("log the model to MLflow")

        run.log_metrics(metrics, model)
        run.log_folds(validation.folds)
        run.log_folder(draft.folder)
        run.tag({"git_commit": info["git_commit"], "seed": str(options.seed)}, info["libraries"], note=card)
        step.done("log metrics, artifacts and tags to MLflow")

        version = run.register(model, made, description=report.headline(evaluation))
        step.reached = f"{version.model_version} is registered as a candidate"
        folder = draft.publish()
        run.finish()
        step.done("register and publish")

    tell = step.during("compare with the champion")
    live, verdict = promote(store, options, version, made, schema, parts.held_out, evaluation, tell)
    step.reached = f"{version.model_version} is registered: {verdict}"
    store_name = redacted(settings.tracking_uri)
    print(report.summary(version, verdict, validation, evaluation, folder, store_name, run.page))
    print(f"\nNext: {next_step(settings, version, live)}")


def search(
    recipe: EstimatorConfig, table: "Table", options: argparse.Namespace, run: "Run", step: "Steps"
) -> tuple[EstimatorConfig, "CrossValidation"]:
    """Tries hyperparameters by cross-validation, each a run below this one. Returns the best, and how they did."""
    from tabserve.training import fitting as training
    from tabserve.training.estimators import bounded, hyperparameters
    from tabserve.training.tuning import Search

    trials = Search(recipe, options.metric, options.seed)
    for number in range(1, options.search + 1):
        started = time.time()
        candidate = bounded(trials.ask(), len(table), len(table.classes), by_hand=recipe.given)
        doing = f"trial {number} of {options.search}"
        validation = training.cross_validate(table, candidate, options.folds, options.seed, step.during(doing))
        best = trials.tell(candidate, validation.mean(options.metric))
        run.log_trial(number, hyperparameters(candidate), validation.summary(), started)
        if best.number == number:
            found = validation
        value = validation.mean(options.metric)
        step.done(f"{doing}: {options.metric} {value:.4f}, best so far {best.value:.4f} of trial {best.number}")
    return best.recipe, found


def least_rows(options: argparse.Namespace) -> int:
    """Of a class, so that each fold and the held-out part get one; and gradient boosting, which sets rows of each class
    aside to see when to end, two to learn from."""
    folds: int = max(options.folds, 4) if options.estimator == "hist-gradient-boosting" else options.folds
    test_size: float = options.test_size
    return max(math.ceil(folds / (1 - test_size)), math.ceil(1 / test_size))


def next_step(settings: Settings, version: "RegisteredVersion", live: bool) -> str:
    try:
        usual: Settings | None = Settings.load(ROOT)  # what the other scripts take, if nobody tells them
    except SettingsError:
        usual = None  # it can't be used, and the command line said what can
    given = ""
    if usual is None or settings.tracking_uri != usual.tracking_uri:
        given += f"MLFLOW_TRACKING_URI={shlex.quote(redacted(settings.tracking_uri))} "
    if usual is None or settings.model_name != usual.model_name:
        given += f"TABSERVE_MODEL_NAME={shlex.quote(settings.model_name)} "
    if not live:
        return f'`{given}python promote_model.py {version.registry_version} --why "…"` makes it live.'
    return f"`{given}python api.py` serves what is live; a server of it that is running follows within seconds."


def split_of(release: "Release") -> str:
    """What decides which rows were held out, in words: two trainings that agree in it held out the same."""
    parameters, dataset = release.manifest.metadata.parameters, release.manifest.metadata.dataset
    return f"--seed {parameters['seed']} --test-size {parameters['test_size']}, table {dataset.sha256[:12]}"


def promote(
    store: "Registry",
    options: argparse.Namespace,
    version: "RegisteredVersion",
    made: "Release",
    schema: "Schema",
    held_out: "Table",
    evaluation: "Evaluation",
    tell: "ReportProgress",
) -> tuple[bool, str]:
    """Moves the alias, or leaves it, as --promote says. Returns whether it was moved, and why in words."""
    from tabserve.model.predictor import Predictor
    from tabserve.training import compiler as export
    from tabserve.training import evaluation as quality

    compared = ""
    if options.promote == "never":
        return False, f"a candidate; '{store.alias}' was not moved (--promote never)"
    if options.promote == "better":
        try:
            champion = Predictor(store.fetch(store.champion()))
        except NoModelError:
            pass  # the first model has no one to beat
        except ReleaseError as error:
            return False, f"a candidate; it can't be compared with the champion: {error}"
        else:
            if reason := champion.schema.incompatibility(schema):
                return False, f"a candidate; it can't be compared with the champion {champion.model_version}: {reason}"
            theirs_split, ours_split = split_of(champion.release), split_of(made)
            if theirs_split != ours_split:
                return False, (
                    f"a candidate; the champion {champion.model_version} was trained on other rows of the table "
                    f"({theirs_split}; here {ours_split}), so it may know these: train with the same to compare"
                )
            probabilities = champion.outputs(export.as_rows(champion.schema, held_out.features))
            found = quality.compare(
                options.metric,
                held_out.target,
                evaluation.probabilities,
                probabilities,
                list(schema.task.classes),
                options.seed,
                tell,
            )
            values = (
                f"{found.metric} {found.ours:.4f} against {found.theirs:.4f} of {champion.model_version} on the same "
                f"{len(held_out.target)} rows, difference {found.low:+.4f} to {found.high:+.4f} with 95 % confidence"
            )
            if found.low <= 0 <= found.high:
                values += ", so it may be chance"
            if not quality.is_better(found.metric, found.ours, found.theirs):
                return False, f"a candidate, not better: {values}"
            compared = f", better: {values}"
    store.move(store.alias, version, f"train_model.py --promote {options.promote}{compared}")
    return True, f"live as '{store.alias}'{compared}"


class Steps:
    """Says what was done and how long it took, and of what takes long how far it is. `reached` is what there is to show
    for it so far."""

    def __init__(self) -> None:
        self.reached = "nothing was published"
        self._last = self._told = time.perf_counter()

    def during(self, what: str) -> "ReportProgress":
        def tell(share: float) -> None:
            now = time.perf_counter()
            if now - max(self._last, self._told) >= QUIET and share < 1:
                self._told = now
                print(f"{now - self._last:6.0f} s  {what}: {share:.0%} so far", flush=True)

        return tell

    def done(self, what: str) -> None:
        now = time.perf_counter()
        print(f"{now - self._last:6.2f} s  {what}", flush=True)
        self._last = now


if __name__ == "__main__":
    ended = main()
    gc.freeze()  # else the interpreter looks through all of it once more, which takes longer than the fit
    sys.exit(ended)
