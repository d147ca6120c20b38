"""The book as notebooks and as a site; no number depends on it."""
