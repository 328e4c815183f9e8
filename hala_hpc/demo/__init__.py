"""The demo's language, texts and tiny models: everything that it needs without a network."""
