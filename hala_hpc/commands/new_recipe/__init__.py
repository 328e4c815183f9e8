"""Write a recipe for a pair of languages: what was asked for, sizes that fit, head and nodes."""
