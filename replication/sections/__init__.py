"""One folder a section of the supplement: experiment, page and template."""
