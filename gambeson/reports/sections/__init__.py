"""The page's sections; each takes all sources and returns its part, or None where there is nothing to show."""
