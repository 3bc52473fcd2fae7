"""What the diagnostics need of the backend in use."""
