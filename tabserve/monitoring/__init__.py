"""What observes predictions."""
