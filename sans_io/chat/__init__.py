"""The vocabulary: what a user says, what comes back, what can go wrong."""
