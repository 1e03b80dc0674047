"""What the supplement and the field print, typed once, each number with its source."""
