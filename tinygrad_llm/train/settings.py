"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_llm.settings import Settings, setting

OPTIMIZERS = ("adamw", "muon")
SCHEDULES = ("cosine", "inverse_square_root")


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How to train: recorded in the run folder, and the same in a run that is resumed.

    Units: `steps`, `warmup_steps` and the intervals count optimizer steps; learning rates are per step; `grad_clip` is
    a global L2 norm. Raises: SettingError, a ConfigError, naming the setting
    """

    steps: int = setting(600, "number of optimizer steps", least=0)
    batch_size: int = setting(16, "examples per batch", least=1)
    grad_accumulation: int = setting(1, "gradient accumulation: batches summed for one optimizer step", least=1)
    optimizer: str = setting("adamw", "update rule; muon: Muon for block matrices, else AdamW", choices=OPTIMIZERS)
    learning_rate: float = setting(1e-3, "peak learning rate, reached after warm-up", least=0)
    min_learning_rate: float = setting(1e-4, "final learning rate of a cosine schedule", least=0, most="learning_rate")
    schedule: str = setting("cosine", "decay of the learning rate after warm-up", choices=SCHEDULES)
    warmup_steps: int = setting(100, "steps of linear warm-up from 0 to the peak learning rate", least=0)
    beta1: float = setting(0.9, "AdamW: decay rate of the first moment", least=0, below=1)
    beta2: float = setting(0.99, "AdamW: decay rate of the second moment", least=0, below=1)
    weight_decay: float = setting(0.1, "decoupled weight decay of matrices", least=0)
    grad_clip: float = setting(1.0, "clip the global gradient norm to X; 0 turns clipping off", least=0)
    eval_interval: int = setting(250, "evaluate on the validation data every N steps; 0: only after the last", least=0)
    eval_batches: int = setting(20, "batches per evaluation", least=1)
    sample_interval: int = setting(0, "print a sample of generated text every N steps; 0: only after the last", least=0)
    workers: int | str = setting(
        "auto", "processes sharing a step; auto: 1 per core, 1 for small models", least=1, most=1024, choices=("auto",)
    )
    seed: int = setting(0, "seed of all random numbers; same seed and settings: same run", least=0, below=2**32)
    checkpoint_activations: bool = setting(
        False, "recompute blocks in the backward pass: less memory, a third more time"
    )
    skip_bad_steps: bool = setting(False, "skip the steps whose loss or gradient is NaN or infinite, and go on")
