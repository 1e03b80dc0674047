"""From a benchmark's input to an index of images with label, split and content hash."""
