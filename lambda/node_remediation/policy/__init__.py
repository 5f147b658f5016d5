"""The policy, pure: an incident's states and transitions, the guards, and what proves recovery."""
