"""What the rooms of the house promise one another: abstract classes whose defaults say "no", so that nobody asks.

An upper floor uses what stands here and nothing else; where it would have to ask what it holds, a method is missing
here. Batches are in `batches.py`, what models are built for in `inputs.py`.
"""

from clew.contracts.model import Adapter, Encoder, EncoderOutput, Head, Model
from clew.contracts.task import Example, Prediction, Task
from clew.contracts.training import Context, Loader, Loss, Objective, Opened

__all__ = [
    "Adapter",
    "Context",
    "Encoder",
    "EncoderOutput",
    "Example",
    "Head",
    "Loader",
    "Loss",
    "Model",
    "Objective",
    "Opened",
    "Prediction",
    "Task",
]
