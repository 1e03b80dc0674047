"""Networks that turn images into features: built, trained, applied."""
