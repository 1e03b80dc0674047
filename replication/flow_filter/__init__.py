"""The Flow Filter: a normalising flow over a mixture of Gaussians, and its objective."""
