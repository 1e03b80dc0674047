"""What every stage shares, and no more: settings, files, stage, record, device."""
