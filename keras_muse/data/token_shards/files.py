"""The files of token shards while they are written, by one process or many."""

import contextlib
import glob
import json
import os
import shutil

from array_record.python.array_record_module import ArrayRecordWriter

from keras_muse.data.token_shards.records import FORMAT
from keras_muse.data.token_shards.records import FORMAT_VERSION
from keras_muse.data.token_shards.records import METADATA_FILE
from keras_muse.data.token_shards.records import ends_of
from keras_muse.data.token_shards.records import read_metadata
from keras_muse.files.json_files import read_object
from keras_muse.files.whole import WRITING
from keras_muse.files.whole import claimed
from keras_muse.files.whole import write_json
from keras_muse.files.whole import write_whole_file

_UNFINISHED = ".partial"
_SETTINGS_FILE = "settings.json"


class ShardFiles:
    """What a run of `write_token_shards` leaves in its directory.

    Until all is done, there is a hidden folder with the settings of the run,
    its complete shards, and a note on each. A run that is started again with
    these settings keeps what is complete. `commit` moves the shards to their
    names, and writes `metadata.json` last.

    Args:
        directory: string.
        settings: dict, as JSON knows it. All that the bytes of the shards
            depend on; `"collection"` is `None` where the rows are not known
            before they are read.
    """

    def __init__(self, directory, settings):
        self.directory = directory
        self.settings = json.loads(json.dumps(settings))
        self._unfinished = os.path.join(directory, _UNFINISHED)

    # === Start ===

    def finished_report(self, overwrite):
        """The report of this very run if it is done, `None` if it is not.

        Raises:
            ValueError: if the directory holds anything else, unless
                `overwrite` is set.
        """
        if overwrite:
            return None
        metadata = _read_json(os.path.join(self.directory, METADATA_FILE))
        if metadata is not None:
            is_known = self.settings["collection"] is not None
            if is_known and metadata.get("settings") == self.settings:
                return read_metadata(self.directory)["report"]
            raise ValueError(
                "`directory` already holds token shards; pass "
                "`overwrite=True` to replace them. "
                f"Received: directory={self.directory}"
            )
        if _glob(self._unfinished, "*.array_record"):
            self.check_settings()
        return None

    @contextlib.contextmanager
    def claimed(self):
        """A scope in which no other run writes here.

        Raises:
            ValueError: if one does.
        """
        os.makedirs(self.directory, exist_ok=True)
        with claimed(self.directory) as is_mine:
            if not is_mine:
                raise ValueError(
                    "`directory` is being written by another process, which "
                    "must end first. Received: "
                    f"directory={self.directory}"
                )
            yield

    def start(self, overwrite):
        """Makes the folder ready; for one process, while the others wait."""
        is_known = self.settings["collection"] is not None
        is_same = self._settings_found() == self.settings
        if not is_same or (overwrite and not is_known):
            shutil.rmtree(self._unfinished, ignore_errors=True)
        os.makedirs(self._unfinished, exist_ok=True)
        for directory in (self.directory, self._unfinished):
            for path in _glob(directory, f"{WRITING}*"):
                os.remove(path)
        write_json(
            os.path.join(self._unfinished, _SETTINGS_FILE), self.settings
        )

    def check_settings(self):
        """Raises unless the shards that are there were made by this run."""
        found = self._settings_found() or {}
        other = [
            name
            for name, value in self.settings.items()
            if name not in found or found[name] != value
        ]
        if other:
            raise ValueError(
                "`directory` holds the unfinished shards of a run with "
                f"another {', '.join(other)}; go on with the same, or pass "
                "`overwrite=True` to start anew. "
                f"Received: directory={self.directory}"
            )

    def _settings_found(self):
        return _read_json(os.path.join(self._unfinished, _SETTINGS_FILE))

    # === Shards ===

    def note(self, number):
        """The note on a complete shard; `None` if it is not complete."""
        note = _read_json(self._note_path(number))
        if note is not None:
            # A run may have been killed while it moved the shards.
            moved = _glob(
                self.directory, f"tokens-{number:05d}-of-*.array_record"
            )
            paths = [self._shard_path(number), *moved]
            for path in filter(os.path.isfile, paths):
                if os.path.getsize(path) == note["num_bytes"]:
                    return note
        return None

    def write(self, number, records, describe):
        """Writes a shard and, when it is complete, the note on it.

        Args:
            number: int.
            records: iterable of bytes.
            describe: function without arguments, called after the last
                record. Returns a dict for the note.
        """
        path = self._shard_path(number)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._note_path(number))  # on what is replaced
        with write_whole_file(path) as growing:
            # One record a group: grain reads records in random order.
            writer = ArrayRecordWriter(growing, "group_size:1")
            try:
                num_records = 0
                for record in records:
                    with _readable_errors(path):
                        writer.write(record)
                    num_records += 1
            finally:
                with _readable_errors(path):
                    writer.close()
        note = {
            "num_records": num_records,
            "num_bytes": os.path.getsize(path),
            "ends": ends_of(path),
        }
        write_json(self._note_path(number), {**note, **describe()})

    def _shard_path(self, number):
        return os.path.join(self._unfinished, f"{number:05d}.array_record")

    def _note_path(self, number):
        return os.path.join(self._unfinished, f"{number:05d}.json")

    # === End ===

    def commit(self, notes, metadata):
        """Moves the shards to their names, then writes `metadata`.

        Killed at any point, it can be called again.
        """
        # The old metadata first: without it the rest is no data set any more.
        path = os.path.join(self.directory, METADATA_FILE)
        if os.path.exists(path):
            os.remove(path)
        shards = []
        for i, note in enumerate(notes):
            name = f"tokens-{i:05d}-of-{len(notes):05d}.array_record"
            if os.path.exists(self._shard_path(i)):
                os.replace(
                    self._shard_path(i), os.path.join(self.directory, name)
                )
            shards.append({"name": name, **_known(note)})
        self._remove_old_shards({shard["name"] for shard in shards})
        contents = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "num_records": sum(note["num_records"] for note in notes),
            **metadata,
            "settings": self.settings,
            "shards": shards,
        }
        write_json(path, contents)
        self.discard()

    def discard(self):
        """Removes all that is not finished."""
        shutil.rmtree(self._unfinished)

    def _remove_old_shards(self, new):
        for path in _glob(self.directory, "tokens-*.array_record"):
            if os.path.basename(path) not in new:
                os.remove(path)


def _known(note):
    """What tells a shard from those of other rows and equal size."""
    names = ("num_records", "num_bytes", "rows", "ends")
    return {name: note[name] for name in names if name in note}


@contextlib.contextmanager
def _readable_errors(path):
    """What ArrayRecord says of a full disk, as an error of a file."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition(";")[0]
        raise OSError(f"{path!r} cannot be written: {reason}") from error


def _glob(directory, pattern):
    return glob.glob(os.path.join(glob.escape(directory), pattern))


def _read_json(path):
    if not os.path.isfile(path):
        return None
    return read_object(path)
