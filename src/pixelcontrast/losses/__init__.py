"""The terms a recipe can list, and their weighted sum."""
