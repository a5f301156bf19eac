"""What training hands to serving."""
