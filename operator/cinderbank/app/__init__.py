"""The one place that wires: adapters into the engine, the engine under the watches."""

from cinderbank.app.operator import run_operator

__all__ = ["run_operator"]
