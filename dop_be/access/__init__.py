"""Every token: what it may do, and how it is made and revoked."""
