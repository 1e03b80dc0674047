"""Replication suite for the supplement of DLSA (ECCV 2022).

Shape legend, used in every docstring and in names where it helps:

    N  samples          D  feature dimensions     C  classes
    K  clusters         B  samples in a batch     S  seeds

Every accuracy inside the package is a fraction in [0, 1]; percent appears only in
`replication.reporting`. `log` is the natural logarithm.
"""
