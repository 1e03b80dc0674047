"""Beyond the supplement: from the head to DLSA, and whether its filters separate."""
