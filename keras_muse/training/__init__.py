"""What helps a training along: callbacks, pictures, averages, many devices."""

from keras_muse.callbacks.codebook_report import CodebookReport
from keras_muse.callbacks.nan_guard import NaNGuard
from keras_muse.callbacks.uniform_baseline import UniformBaseline
from keras_muse.training.checkpoint import Checkpoint
from keras_muse.training.checkpoint_average import average_checkpoints
from keras_muse.training.checkpoint_loading import load_checkpoint
from keras_muse.training.distribution import check_layout
from keras_muse.training.distribution import data_parallel
from keras_muse.training.distribution import model_parallel
from keras_muse.training.image_grid import ImageGrid
from keras_muse.training.sheets import draw_grid
from keras_muse.training.sheets import draw_sections
from keras_muse.training.time_budget import TimeBudget

__all__ = [
    "Checkpoint",
    "CodebookReport",
    "ImageGrid",
    "NaNGuard",
    "TimeBudget",
    "UniformBaseline",
    "average_checkpoints",
    "check_layout",
    "data_parallel",
    "draw_grid",
    "draw_sections",
    "load_checkpoint",
    "model_parallel",
]
