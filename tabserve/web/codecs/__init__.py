"""From bytes to values and back."""
