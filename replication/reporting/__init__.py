"""Records become tables, figures and pages; the only place where percent appears."""
