"""Tables with a number to predict, as people have them: prices of diamonds and of houses, fares of taxis.

Numbers and categories with gaps; errors that grow with the number to predict, as in the real tables.
"""

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from tabserve.training import task_training
from tabserve.training.dataset import Dataset

CUTS = ("Fair", "Good", "Very Good", "Premium", "Ideal")
COLOURS = ("D", "E", "F", "G", "H", "I", "J")


def diamonds(rows: int, seed: int = 0) -> pd.DataFrame:
    """`price` in dollars, a whole number."""
    rng = np.random.default_rng(seed)
    carat = np.round(np.exp(rng.normal(-0.4, 0.55, rows)).clip(0.2, 4), 2)
    cut, colour = rng.choice(5, rows, p=[0.03, 0.09, 0.22, 0.26, 0.4]), rng.integers(0, 7, rows)
    logarithm = 8.5 + 1.7 * np.log(carat) + 0.06 * cut - 0.07 * colour + rng.normal(0, 0.12, rows)
    length = np.round(6.4 * np.cbrt(carat) * rng.normal(1, 0.01, rows), 2)
    return pd.DataFrame(
        {
            "carat": carat,
            "cut": np.array(CUTS)[cut],
            "color": np.array(COLOURS)[colour],
            "depth": np.round(rng.normal(61.7, 1.4, rows), 1),
            "table": np.round(rng.normal(57.5, 2.2, rows)),
            "x": length,
            "price": np.exp(logarithm).round().astype(int),
        }
    )


def houses(rows: int, seed: int = 0) -> pd.DataFrame:
    """`SalePrice` in dollars, with gaps in two features."""
    rng = np.random.default_rng(seed)
    area, quality = rng.gamma(9, 165, rows).round(), rng.integers(3, 11, rows)
    year, garage = rng.integers(1900, 2011, rows), rng.integers(0, 4, rows)
    place = rng.choice(["NAmes", "CollgCr", "OldTown", "Edwards", "Somerst", "NoRidge"], rows)
    premium = pd.Series(place).map({"NoRidge": 1.35, "Somerst": 1.15, "OldTown": 0.85}).fillna(1.0).to_numpy()
    price = (20_000 + 55 * area * (0.5 + quality / 10) + 300 * (year - 1900) + 9000 * garage) * premium
    frontage = pd.Series(rng.normal(70, 20, rows).round().clip(20)).mask(rng.random(rows) < 0.18)
    return pd.DataFrame(
        {
            "Neighborhood": place,
            "GrLivArea": area,
            "OverallQual": quality,
            "YearBuilt": year,
            "GarageCars": pd.Series(garage, dtype="float64").mask(rng.random(rows) < 0.05),
            "LotFrontage": frontage,
            "SalePrice": (price * rng.lognormal(0, 0.12, rows)).round(-2),
        }
    )


def taxis(rows: int, seed: int = 0) -> pd.DataFrame:
    """`fare_amount` in dollars and cents, with a few fixed fares."""
    rng = np.random.default_rng(seed)
    miles, hour = np.round(rng.gamma(1.3, 2.2, rows) + 0.3, 2), rng.integers(0, 24, rows)
    speed = np.where((hour > 7) & (hour < 19), 9, 15) * rng.lognormal(0, 0.25, rows)
    fare = 3 + 2.6 * miles + 0.35 * 60 * miles / speed * 0.6
    to_airport = rng.random(rows) < 0.02
    return pd.DataFrame(
        {
            "trip_distance": miles,
            "hour": hour,
            "passenger_count": rng.choice([1, 2, 3, 4, 5], rows, p=[0.72, 0.15, 0.05, 0.03, 0.05]),
            "payment_type": rng.choice(["card", "cash"], rows),
            "rate": np.where(to_airport, "airport", "metered"),
            "fare_amount": np.round(np.where(to_airport, 70.0, fare) * 2) / 2,
        }
    )


def as_dataset(frame: pd.DataFrame, target: str) -> Dataset:
    """A table with this target column as training takes it."""
    features = frame.drop(columns=target)
    features = features.apply(lambda column: column.astype("float64" if is_numeric_dtype(column.dtype) else "str"))
    missing = {str(name): int(count) for name, count in features.isna().sum().items() if count}
    values = frame[target].astype("float64")
    return Dataset(target, features, values, task_training("regression").model_task(values), missing)
