"""The pipeline hands the options of the training on as they were given."""

from pathlib import Path

import pytest

from tabserve.cli import pipeline, train_options

TABLE = ["--data", "t.csv", "--target", "y"]


def parsed(*arguments: str) -> pipeline.PipelineOptions:
    return pipeline.parse(arguments, "run_pipeline.py", "Trains and serves.", with_check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--estimator", "extra-trees", "--n-estimators=5", "--max-features", "0.5", "--criterion", "entropy"],
        ["--search", "3", "--metric", "log_loss", "--seed", "7", "--folds", "3", "--test-size", "0.3"],
        [*TABLE, "--drop", "a", "b", "--keep=-c", "--missing", "-", "-999", "--missing=-nan", "--separator", ";"],
        ["--data=t.csv", "--target=-1", "--missing", "--dates", "dmy", "--decimal", ",", "--split-by", "when"],
        [
            *TABLE, "--task", "regression", "--estimator", "hist-gradient-boosting", "--loss", "poisson", "--coverage",
            "0.5", "--max-iter", "9", "--learning-rate", "0.2", "--l2-regularization", "1", "--max-depth", "3",
        ],
        [
            *TABLE, "--encode", "target", "--rare", "0.01", "--no-missing-indicators", "--threshold", "f1_macro",
            "--positive", "yes", "--class-weight", "balanced", "--max-leaf-nodes", "9",
        ],
        [*TABLE, "--encoding", "cp1252", "--sheet=--S", "--id", "i", "--no-header", "--categorical", "a b"],
    ],
)  # fmt: skip
def test_training_gets_the_same_options(arguments: list[str]) -> None:
    """Whatever the texts begin with, and wherever the pipeline's own options stand between them."""
    own = ["--exit", "--port", "0", "--host", "::1", "--model-name", "m"]
    for given in ([*own, *arguments], [*arguments, *own]):
        options = parsed(*given)
        assert (options.exit, options.port, options.host, options.model_name) == (True, 0, "::1", "m")
        handed_on = ["--data", options.table.place, *options.training] if options.table else options.training
        expected = train_options.parse(arguments, root=Path(), program="train_model.py")
        assert train_options.parse(handed_on, root=Path(), program="train_model.py") == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--encode", "target"], "arguments --encode, --rare, --missing-indicators: they are about a table"),
        (["--metric", "rmse"], "argument --metric: only --search compares metrics; add it"),
        (
            ["--estimator", "ridge", "--n-estimators", "3"],
            "argument --n-estimators: it is for --estimator",
        ),
        (["--promote", "never"], "unrecognized arguments: --promote never"),
        (["--exit", "--check"], "not allowed with argument"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the messages of the training, with status 2; those about publishing are the training's alone."""
    with pytest.raises(SystemExit) as error:
        parsed(*arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_place_of_a_table_is_shown_without_a_password() -> None:
    """It isn't among the options that are printed as they were given."""
    options = parsed("--data", "postgresql://u:s3cret@h/d", "--query", "select 1", "--target", "y", "--exit")
    assert options.training == ["--query", "select 1", "--target", "y"]
    assert options.table
    assert "s3cret" not in options.table.display_place
