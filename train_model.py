"""Trains a model and publishes it: load → split → search or cross-validate → fit → evaluate → compile → report → log →
register → publish → promote.

    python train_model.py                        a random forest on Iris, live when it is done
    python train_model.py --n-estimators 300 --promote better --metric log_loss
    python train_model.py --data penguins.csv --target species --estimator logistic-regression
    python train_model.py --search 30 --metric log_loss

`train` is the recipe, one call a step; `tabserve train` runs the same function. The package has the knowledge:
`tabserve.training` the steps, `tabserve.cli.train_options` the options, `tabserve.cli.train` messages and exit
statuses.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from tabserve.cli.garbage import uncollected
    from tabserve.cli.train import StepProgress, next_step, run_recipe
    from tabserve.cli.train_options import TrainOptions
    from tabserve.cli.train_promotion import promote
    from tabserve.settings import Settings
    from tabserve.store_uri import redacted
except ModuleNotFoundError as missing:
    sys.exit(f"train_model.py: {missing}. `. .venv/bin/activate` first, or `python run_pipeline.py`, which makes it")

ROOT = Path(__file__).resolve().parent


def train(options: TrainOptions, settings: Settings, progress: StepProgress) -> None:
    """The recipe. `progress` prints a line after each step."""
    with uncollected():  # the imports take longer than the fit, so --help and a wrong option don't wait for them
        from tabserve.cli import train_steps as steps
        from tabserve.model import artifacts
        from tabserve.registry import RELEASE, open_registry
        from tabserve.reporting import headline, training_summary, write_report
        from tabserve.training.compiler import write_release
        from tabserve.training.cross_validation import cross_validate
        from tabserve.training.dataset import split
        from tabserve.training.evaluation import evaluate
        from tabserve.training.fitting import fit
        from tabserve.training.parity import prove_parity
        from tabserve.training.pipeline import describe_fit
        from tabserve.training.result import TrainingResult
        from tabserve.training.schema_inference import infer_schema

        registry = open_registry(settings)
        registry.prepare()
    progress.done("import the libraries")

    with (
        artifacts.draft(settings.artifacts_dir, registry.has_version, registry.mark_killed) as draft,
        steps.start_run(registry, options, settings, draft) as run,
    ):
        dataset = steps.load_dataset(options, run)
        parts = split(dataset, options.test_size, options.seed)
        training, held_out = parts.training, parts.held_out
        progress.done(f"load {dataset.name}: {len(training)} rows to train, {len(held_out)} held out")
        steps.show_dataset(parts, options)

        config = steps.limit_leaves(options.config, training)
        if options.search:
            config, validation = steps.search(options, training, run, progress)
        else:
            step = f"cross-validate in {options.folds} folds"
            validation = cross_validate(training, config, options.folds, options.seed, progress.during(step))
            progress.done(step)

        parts, validation = steps.calibrate(parts, validation, config, options)
        training, held_out = parts.training, parts.held_out
        pipeline = fit(training, config, options.seed, progress.during("fit"))
        evaluation = evaluate(pipeline, held_out, options.seed, progress.during("evaluate"))
        progress.done(f"fit {describe_fit(pipeline)} and evaluate them")

        schema = infer_schema(training, pipeline)
        result = TrainingResult(parts, schema, pipeline, validation, evaluation)
        metadata = steps.describe(result, config, options, settings, draft, run)
        release = write_release(draft.folder / RELEASE, pipeline, schema, training, metadata)
        parity = prove_parity(release, pipeline, training, options.seed)
        progress.done(f"compile the model: {parity}")

        card = write_report(draft.folder, result, metadata)
        progress.done("draw the plots, write the model card")

        model = steps.log_model(run, result, metadata)
        progress.done("log the model to MLflow")
        steps.log_results(run, model, result, metadata, draft.folder, card)
        progress.done("log metrics, artifacts and tags to MLflow")

        kind = schema.task.kind
        version = run.register(model, release, description=headline(metadata, kind))
        progress.reached = f"{version.model_version} is registered as a candidate"
        folder = draft.publish()
        run.finish()
        progress.done("register and publish")

    verdict = promote(registry, options, version, release, result, progress.during("compare with the champion"))
    progress.reached = f"{version.model_version} is registered: {verdict.text}"
    store = redacted(settings.tracking_uri)
    print(training_summary(version, verdict.text, metadata, kind, folder=folder, tracking_uri=store, page=run.page))
    print(f"\nNext: {next_step(options, settings, version.registry_version, is_live=verdict.is_live)}")


def main(argv: Sequence[str] | None = None, *, root: Path = ROOT, program: str = "train_model.py") -> int:
    return run_recipe(train, argv, root=root, program=program)


if __name__ == "__main__":
    sys.exit(main())
