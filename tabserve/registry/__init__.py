"""The only package that knows MLflow: registered versions, the aliases that say which are live, the journal, runs.

`open_registry` returns the registry that the settings name. Servers read it, commands write to it. A folder, a database
and a tracking server behave alike. `runs` logs a training, `journal` says where a rollback leads.

The package knows no estimator, no task and no HTTP. It promises that a reader sees a whole version or none, even if a
training is killed or the disk is full, and that no message holds a password of the store. It imports MLflow when MLflow
is first needed, so importing this package is cheap.
"""

from tabserve.registry.base import Registry
from tabserve.registry.cache import RELEASE
from tabserve.registry.file_registry import FileRegistry
from tabserve.registry.reader import ListedVersion
from tabserve.registry.tracking_registry import TrackingRegistry
from tabserve.settings import Settings
from tabserve.store_uri import store_folder

__all__ = ["RELEASE", "ListedVersion", "Registry", "open_registry"]


def open_registry(settings: Settings) -> Registry:
    """The registry that the settings name. Nothing is imported, read or made until it is asked."""
    folder = store_folder(settings.tracking_uri)
    return FileRegistry(settings, folder) if folder else TrackingRegistry(settings)
