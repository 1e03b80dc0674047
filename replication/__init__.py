"""Replication suite for the supplement of DLSA (ECCV 2022).

Shape legend, used in every docstring and in names where it helps:

    N  samples          D  feature dimensions     C  classes
    K  clusters         B  samples in a batch     S  seeds

Every accuracy inside the package is a fraction in [0, 1]; percent appears only in
`replication.reporting`. `log` is the natural logarithm.
"""

from typing import TYPE_CHECKING, Any

from replication.core.cores import keep_freed_memory, share_the_machine

if TYPE_CHECKING:
    from replication.estimator import DLSA

__all__ = ["DLSA"]

share_the_machine()  # before PyTorch is loaded, which reads it once
keep_freed_memory()


def __getattr__(name: str) -> Any:
    """The estimator, imported once it is asked for: no stage waits for it."""
    if name == "DLSA":
        from replication.estimator import DLSA

        return DLSA
    raise AttributeError(f"module 'replication' has no attribute {name!r}")
