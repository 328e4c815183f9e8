"""Ratings by people: a blind sample, its forms, what raters return, and what follows from it."""
