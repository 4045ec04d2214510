"""Health and logs. What is imported here delays every command."""
