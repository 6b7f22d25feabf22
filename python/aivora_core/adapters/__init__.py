"""Adapters: what came from elsewhere, as this package's own types."""
