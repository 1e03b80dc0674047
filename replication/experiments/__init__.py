"""The experiments of Sect. 1 to 3: separation, momentum estimator, sigma."""
