"""A share of some rows, and how sure it is."""

from scipy.stats import binomtest

from tabserve.model import Estimate


def proportion(hits: int, rows: int) -> Estimate:
    """A share of some rows, with its 95 % confidence interval (Wilson 1927); of no rows, 0 with that from 0 to 1."""
    if not rows:
        return Estimate(value=0.0, low=0.0, high=1.0)
    interval = binomtest(int(hits), int(rows)).proportion_ci(method="wilson")
    return Estimate(value=float(hits / rows), low=float(interval.low), high=float(interval.high))
