"""Decoding, augmentation and batches of images."""
