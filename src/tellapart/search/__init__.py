"""Search spaces and search strategies of a sweep. This package trains nothing."""
