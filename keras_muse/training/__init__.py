"""What helps a training along: callbacks, pictures, checkpoint averages."""

from keras_muse.training.checkpoint_average import average_checkpoints
from keras_muse.training.codebook_report import CodebookReport
from keras_muse.training.image_grid import ImageGrid
from keras_muse.training.nan_guard import NaNGuard
from keras_muse.training.pictures import draw_grid
from keras_muse.training.pictures import draw_sections
from keras_muse.training.time_budget import TimeBudget
from keras_muse.training.uniform_baseline import UniformBaseline

__all__ = [
    "CodebookReport",
    "ImageGrid",
    "NaNGuard",
    "TimeBudget",
    "UniformBaseline",
    "average_checkpoints",
    "draw_grid",
    "draw_sections",
]
