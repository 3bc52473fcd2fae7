"""What a run is asked to do: flags, their rules, and the settings they make."""
