"""The demo's own language, texts and tiny models: everything that it needs without a network."""
