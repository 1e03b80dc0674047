"""From predictions to numbers: metrics, intervals, verdicts, records."""
