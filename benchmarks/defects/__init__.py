"""Defects that are planted in translations, and how many the checks find."""
