"""HTTP: the only room that knows FastAPI. It translates, and calls the service."""
