"""Models that say how well a picture fits a text."""
