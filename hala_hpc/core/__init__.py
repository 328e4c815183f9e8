"""Settings, the recipe graph, fingerprints, artifact folders, files and errors. Imports pydantic."""
