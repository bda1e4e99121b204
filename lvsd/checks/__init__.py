"""Health checks: the engine and one file per kind. A check asks and reports; it decides nothing."""
