"""The switch, the planned windows, and what they put in force."""
