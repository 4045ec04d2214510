"""The one record of changes."""
