"""What the map of a search says: its best cell, its slope, its basin."""

from tfwd.tuning.maps.finding import Finding
from tfwd.tuning.maps.finding import as_text
from tfwd.tuning.maps.finding import findings

__all__ = ["Finding", "as_text", "findings"]
