"""Makes what goes out, pure: letters for machines, notifications and mail for people, advice by code."""
