"""Other maintenance switches, measured as the service is: `make bench-peers`, in an environment of its own."""
