"""The Flow Filter: a flow over a mixture of Gaussians, and its objective."""
