"""The row of settings."""
