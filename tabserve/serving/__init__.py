"""The loaded model."""
