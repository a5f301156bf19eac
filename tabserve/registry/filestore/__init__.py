"""MLflow's file store: its files, read and written where MLflow is too slow, or unsafe against kills and full disks.

A file store has no transactions. So a process that writes several files holds `FileStore.lock`, and `FileStore.repair`
repairs what a killed training left incomplete before the next training writes. Nothing is ever deleted: broken entries
move to `<artifacts>/.broken/`. The package never calls MLflow, and it knows nothing about releases.
"""

from tabserve.registry.filestore.store import FileStore

__all__ = ["FileStore"]
