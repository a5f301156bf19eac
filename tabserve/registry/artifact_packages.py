"""Which package MLflow needs for the place where a store keeps artifacts. MLflow installs none of them, and misses one
only when it uploads the first file."""

import importlib
from urllib.parse import urlsplit

from tabserve.errors import TrackingError
from tabserve.store_uri import redacted

PACKAGES = {
    "s3": ("boto3", "boto3"),
    "r2": ("boto3", "boto3"),
    "b2": ("boto3", "boto3"),
    "gs": ("google.cloud.storage", "google-cloud-storage"),
    "wasbs": ("azure.storage.blob", "azure-storage-blob"),
    "abfss": ("azure.storage.filedatalake", "azure-storage-file-datalake"),
    "sftp": ("pysftp", "pysftp"),
}
"""Scheme of the place → the module that MLflow imports, and the package that has it."""


def require_package(location: str) -> None:
    """Returns if artifacts can be uploaded to this location, as far as packages are concerned.

    Raises:
        TrackingError: with the package that is missing.
    """
    module, package = PACKAGES.get(urlsplit(location).scheme, (None, None))
    if module is None:
        return
    try:
        importlib.import_module(module)
    except ImportError:
        raise TrackingError(
            f"the store keeps artifacts at {redacted(location)}, and the package for that is missing: "
            f"`pip install {package}`"
        ) from None
