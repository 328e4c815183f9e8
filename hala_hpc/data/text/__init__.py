"""Languages, scripts, digits and number words of texts."""
