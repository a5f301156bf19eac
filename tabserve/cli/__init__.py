"""Options, progress and messages of the commands."""
