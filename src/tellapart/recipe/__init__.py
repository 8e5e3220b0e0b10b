"""The schema of a recipe, and how recipes are loaded from YAML, overridden and grouped."""
