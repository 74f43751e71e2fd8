"""Reads Ferry's run and study folders: draws them, and compares them phase by phase."""
