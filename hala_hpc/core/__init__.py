"""Settings, recipe graph, fingerprints, artifact folders, files, errors. Needs only pydantic."""
