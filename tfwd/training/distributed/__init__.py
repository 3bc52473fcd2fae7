"""The replicas and processes that train together."""
