"""TensorBoard event files, without TensorFlow."""

import io
import os
import pathlib
import socket
import time


class EventWriter:
    """Writes pictures where TensorBoard finds them.

    Args:
        log_dir: string or path. What `tensorboard --logdir` is given.

    Raises:
        ImportError: if the package `tensorboard` is not installed.
    """

    def __init__(self, log_dir):
        try:
            from tensorboard.compat.proto import event_pb2
            from tensorboard.compat.proto import summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise ImportError(
                "`log_dir` needs TensorBoard: "
                "pip install 'keras-muse[tensorboard]'"
            ) from error
        self._event = event_pb2.Event
        self._summary = summary_pb2.Summary
        directory = pathlib.Path(log_dir)
        directory.mkdir(parents=True, exist_ok=True)
        # Two writers of one process and second must not share a file.
        name = (
            f"events.out.tfevents.{int(time.time()):010d}"
            f".{socket.gethostname()}.{os.getpid()}.{id(self)}"
        )
        self._records = RecordWriter(open(directory / name, "wb"))
        self._write(self._event(file_version="brain.Event:2"))

    def add_image(self, tag, image, step):
        """Adds a `PIL.Image.Image` under the name `tag`."""
        png = io.BytesIO()
        image.save(png, format="PNG")
        value = self._summary.Value(
            tag=tag,
            image=self._summary.Image(
                height=image.height,
                width=image.width,
                colorspace=3,
                encoded_image_string=png.getvalue(),
            ),
        )
        self._write(
            self._event(step=step, summary=self._summary(value=[value]))
        )

    def _write(self, event):
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._records.flush()

    def close(self):
        self._records.close()
