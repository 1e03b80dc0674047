"""Beyond the supplement: where DLSA loses, and what it would need."""
