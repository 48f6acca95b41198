"""What every trained model of this package is: a Keras model with presets."""

import contextlib
import copy
import itertools
import math

import keras
import numpy as np
from keras import ops

from keras_muse.files import keras_files
from keras_muse.models.exporting import SeenInputs
from keras_muse.models.exporting import check_format
from keras_muse.models.exporting import check_signature
from keras_muse.models.keras_arguments import TARGET_LOSSES
from keras_muse.models.keras_arguments import TARGETS
from keras_muse.models.keras_arguments import by_name
from keras_muse.models.keras_arguments import check_no_backup
from keras_muse.models.keras_arguments import check_no_target_losses
from keras_muse.models.keras_arguments import check_no_targets
from keras_muse.models.keras_arguments import check_not_shared
from keras_muse.models.keras_arguments import check_one_learning_rate
from keras_muse.models.keras_arguments import is_stream
from keras_muse.models.keras_arguments import known_callbacks
from keras_muse.models.keras_arguments import looked_at
from keras_muse.models.keras_arguments import validation_parts
from keras_muse.models.presets import frozen_layers
from keras_muse.models.presets import loading
from keras_muse.models.presets import lora
from keras_muse.models.presets import weight_quantization
from keras_muse.models.presets.architectures import Presets
from keras_muse.runtime.batches import DEFAULT_BATCH_SIZE
from keras_muse.runtime.batches import are_arrays
from keras_muse.runtime.batches import check_whole_batches
from keras_muse.runtime.batches import count_rows
from keras_muse.runtime.batches import dataset_inputs
from keras_muse.runtime.batches import is_dataset
from keras_muse.runtime.batches import map_batches
from keras_muse.runtime.batches import without_none
from keras_muse.runtime.checks import LARGEST_INT
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import show
from keras_muse.runtime.compiled import CompiledFunctions
from keras_muse.runtime.compiled import fetchable
from keras_muse.runtime.inputs import as_native
from keras_muse.runtime.inputs import check_data
from keras_muse.runtime.streams import open_closed_streams
from keras_muse.runtime.variables import kept


class MuseModel(keras.Model):
    """A model with the verbs of a KerasHub backbone, and losses of its own.

    It is not a subclass of `keras_hub.models.Backbone`: the first functional
    backbone in a process turns all classes under `Backbone` into functional
    models, and these models are subclassed. It also spares everyone who does
    not load a preset the import of KerasHub.

    `model(inputs)` is `call_outputs(inputs)`. A loss needs more: which tokens
    were masked, which codes were chosen. In `fit` and `evaluate` the one
    forward pass is therefore `loss_inputs(inputs, training)`, and in `predict`
    it is `predict_outputs(inputs)`. This holds on every backend, since all of
    them trace or run `call` inside the step.

    A subclass names what it is trained on in `loss_terms`, and what each term
    counts in `term_weights`. `fit`, `evaluate` and the progress bar show the
    terms where there are several.

    A training loop of one's own is made of the same two steps, and needs no
    `compile` but for a tokenizer, whose losses have networks; on JAX it runs
    in a `keras.StatelessScope`:

    ```python
    outputs = model.loss_inputs(batch, training=True)
    loss = model.compute_loss(batch, y_pred=outputs)
    ```
    """

    # Names of the `keras_muse.converters` that read what others published.
    converters = ()
    # Those that come and go in a training. They do not count in the loss of
    # `evaluate`, which must be comparable from the first epoch to the last.
    passing_losses = ()
    # Names of metrics that are the better, the larger they are.
    larger_is_better = ()
    # Names of the arguments of `compile` beside Keras' own, as attributes. With
    # any, a compiled model that is saved comes back compiled.
    compile_arguments = ()
    # Into how many parts a training step cuts its batch.
    gradient_accumulation_steps = 1

    def __init__(self, **kwargs):
        open_closed_streams()  # Keras' progress bars fail without
        super().__init__(**kwargs)
        self._step = None
        self._compiled = CompiledFunctions(self)
        self._seen_inputs = SeenInputs()
        self._loss_means = {}

    # === Presets ===

    presets = Presets()

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Loads a model.

        Args:
            preset: string. A directory or handle (`hf://`, `kaggle://`) of
                such a model or of a whole `Muse`, of a model of others that
                the class can read; or the name of a bundled model, or of an
                architecture without weights (with `load_weights=False`), of
                the paper or for small pictures.
            load_weights: bool. `False` leaves the weights random. Defaults to
                `True`.
            **kwargs: constructor arguments to override. For another
                `codebook_size`, `text_dim` or `grid_size`, or another
                `low_res_codebook_size` or `low_res_grid_size`, what fits is
                loaded, 2-D positions are interpolated, and the rest starts
                afresh and is named in a message; nothing is frozen then.
                Others that would give the model other weights than are saved
                are refused.

        Returns:
            A model of this class.

        Raises:
            ValueError: if the preset holds a model of another class, cannot
                be reached, or its files are damaged, have weights that are
                not finite or do not fit its configuration; the file and the
                tensor are named.
        """
        return loading.load_model(cls, preset, load_weights, kwargs)

    def save_to_preset(self, preset_dir, max_shard_size=10):
        """Saves the model as a preset; optimizer and losses stay behind.

        Args:
            preset_dir: string. The directory; it appears whole or not at all.
            max_shard_size: int or float. Gigabytes of one weight file, or
                `None` for a single file. Defaults to `10`.

        Raises:
            ValueError: if a weight is not finite; it is named, and a preset
                that was there is kept.
        """
        loading.save_model(self, preset_dir, max_shard_size)

    # === Files of Keras ===

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """`keras.Model.save` of finite weights; whole or not at all."""
        keras_files.save(
            super().save, self, filepath, overwrite, zipped, **kwargs
        )

    def save_weights(self, filepath, overwrite=True, max_shard_size=None):
        """`keras.Model.save_weights` of finite weights; never half."""
        keras_files.save_weights(
            super().save_weights, self, filepath, overwrite, max_shard_size
        )

    def load_weights(self, filepath, *args, **kwargs):
        """`keras.Model.load_weights`, of a model without LoRA.

        Raises:
            ValueError: if the model has low-rank additions. A file of weights
                has them merged; Keras would set those of the model to zero,
                where no gradient reaches them any more.
        """
        if lora.has_lora(self):
            raise ValueError(
                "A file of weights has low-rank additions merged into it. "
                "Use `load_lora_weights`, or `keras_muse.training.Checkpoint` "
                "to go on with a training. Received: filepath="
                f"{show(filepath)}, a model with LoRA"
            )
        super().load_weights(filepath, *args, **kwargs)

    # === LoRA and quantization, as KerasHub and Keras have them ===

    def enable_lora(self, rank, target_layer_names=("query", "value")):
        """Freezes the model and trains low-rank additions to some layers.

        Nothing changes yet: the additions start at zero. `compile` the model
        again before it is trained. A quantized model can be trained so, too.
        Saved as a preset or a `.keras` file, the model has the additions
        merged into its weights. In a quantized model that is saved so, what
        is merged is rounded to integers anew: it differs a little from the
        model that was tuned.

        Args:
            rank: int. Rank of the additions.
            target_layer_names: sequence of strings. Names of the `Dense`
                layers that get one. Defaults to the queries and values of all
                attentions.

        Raises:
            ValueError: if there are additions already, or a name matches no
                layer.

        Example:
        ```python
        base = keras_muse.MuseBase.from_preset("muse_emoji")
        base.enable_lora(rank=4)
        base.compile(keras.optimizers.AdamW(1e-3))
        # Few pictures in whole batches are hardly a step: many passes are an
        # epoch then.
        shards = keras_muse.data.read_token_shards(
            "my_style/", batch_size=16, steps_per_epoch=100
        )
        base.fit(shards, epochs=5)
        base.save_lora_weights("my_style.lora.h5")
        ```

        Reference:
            - [Hu et al., 2021](https://arxiv.org/abs/2106.09685)
        """
        lora.enable_lora(self, rank, target_layer_names)

    def save_lora_weights(self, filepath):
        """Saves the low-rank additions alone.

        Args:
            filepath: string or path that ends in `.lora.h5`.

        Raises:
            ValueError: if LoRA is not enabled, or for another ending.
        """
        lora.save_lora_weights(self, filepath)

    def load_lora_weights(self, filepath):
        """Loads what `save_lora_weights` saved.

        A model without LoRA gets it, as `enable_lora` does, in the layers and
        of the rank of the file.

        Args:
            filepath: string or path that ends in `.lora.h5`.

        Raises:
            ValueError: if the file is damaged, has numbers that are not
                finite, or is for another rank, other layers or other widths;
                they are named, and nothing is loaded.
        """
        lora.load_lora_weights(self, filepath)

    def quantize(self, mode=None, config=None, filters=None):
        """Stores the weights of `Dense` and `Embedding` layers as integers.

        Args:
            mode: `"int8"` or `"int4"`.
            config: `keras.quantizers.QuantizationConfig` or `None`, for
                example to choose the size of the blocks of int4.
            filters: regular expression, list of them, or function of a layer
                that returns a bool: which layers, by their names. Defaults to
                all.

        Raises:
            ValueError: for another mode, if layers are quantized already, or
                if there is none to quantize.

        Example:
        ```python
        base.quantize("int8")
        base.save_to_preset("base_int8")
        ```
        """
        weight_quantization.quantize(self, super().quantize, config, filters)

    # === Export ===

    def export(
        self,
        filepath,
        format="tf_saved_model",
        verbose=None,
        input_signature=None,
        **kwargs,
    ):
        """Writes `model(inputs)` as an artifact for inference.

        Args:
            filepath: string or path.
            format: string. As in `keras.Model.export`; of them
                `"tf_saved_model"` is made on JAX and TensorFlow, `"torch"` on
                Torch, and `"onnx"`, `"openvino"` and `"litert"` need their
                own packages. Defaults to `"tf_saved_model"`.
            verbose: bool or `None`. Whether to print a message.
            input_signature: list of one item, the inputs with a
                `keras.InputSpec` in the place of each. Defaults to the shapes
                and dtypes of the first call, with any number of rows; on
                Torch, with one. Of a tokenizer's pictures, in a SavedModel,
                a side may be `None`: any that the downsampling factor divides.
            **kwargs: other arguments of `keras.Model.export`.

        Raises:
            ValueError: if the model was never called and there is no
                `input_signature`, or one that it cannot be exported for; or
                if the backend does not make this format.
        """
        if input_signature is not None:
            kwargs = self.export_options(format, input_signature, kwargs)
        check_format(self, format)
        signature = input_signature or self._seen_inputs.signature
        check_signature(self, signature)
        super().export(
            filepath,
            format=format,
            verbose=verbose,
            input_signature=signature,
            **kwargs,
        )

    def export_options(self, format, input_signature, options):
        """Checks a signature, and returns options of an export with it."""
        return options

    # === Configuration ===

    def get_config(self):
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }
        if quantization := weight_quantization.describe(self):
            config["quantization"] = quantization
        # Low-rank additions freeze the rest, and are merged in a file.
        if not lora.has_lora(self) and (frozen := frozen_layers.describe(self)):
            config["frozen"] = frozen
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        quantization = config.pop("quantization", ())
        frozen = config.pop("frozen", ())
        model = super().from_config(config)
        # With random weights; the file holds them as integers.
        weight_quantization.restore(model, quantization)
        frozen_layers.restore(model, frozen)
        return model

    # === Forward passes ===

    def __call__(self, inputs, *args, **kwargs):
        if isinstance(inputs, dict):
            inputs = as_native(inputs)  # Keras goes into lists, to each number
        is_first = self._seen_inputs.signature is None
        outputs = super().__call__(inputs, *args, **kwargs)
        if is_first:  # as they are given, where `call` gets them cast
            self._look(inputs)
        return outputs

    def call(self, inputs, training=False):
        outputs = self._call(inputs, training)
        # JAX trains and evaluates without `__call__`.
        if self._seen_inputs.signature is None:
            self._look(inputs)
        return outputs

    def _look(self, inputs):
        self._seen_inputs.look(inputs, self.batch_inputs(training=False))

    def _call(self, inputs, training):
        if self._step in ("train", "test"):
            return self.loss_inputs(inputs, training)
        if self._step == "predict":
            return self.predict_outputs(inputs)
        return self.call_outputs(inputs)

    def call_outputs(self, inputs):
        """The forward pass of `model(inputs)`."""
        raise NotImplementedError

    def loss_inputs(self, inputs, training):
        """The forward pass of `fit` and `evaluate`, for `loss_terms`."""
        raise NotImplementedError

    def predict_outputs(self, inputs):
        """The forward pass of `predict`."""
        return self.call_outputs(inputs)

    @contextlib.contextmanager
    def _inside(self, step):
        self._step = step
        try:
            yield
        finally:
            self._step = None

    # === The objective ===

    def loss_terms(self, inputs, outputs, training):
        """What the model is trained on, term by term.

        Args:
            inputs: a batch, as `fit` is given it.
            outputs: what `loss_inputs` made of it.
            training: bool.

        Returns:
            Dict of float32 scalars by name, at least those of `term_weights`.
        """
        raise NotImplementedError

    @property
    def term_weights(self):
        """dict. What each loss term in use counts in the whole loss."""
        raise NotImplementedError

    def _track_losses(self, names):
        """Shows each of these terms; called where there are several."""
        self._loss_means = {
            name: keras.metrics.Mean(name=name) for name in names
        }

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        check_no_targets(self, {"y": y, "sample_weight": sample_weight})
        x = without_none(x)
        terms = self.loss_terms(x, y_pred, training)
        # As Keras' own mean of the loss: by the rows of each batch.
        rows = x if x is None else ops.shape(keras.tree.flatten(x)[0])[0]
        weights = self.term_weights
        for name, mean in self._loss_means.items():
            if name in weights:
                mean.update_state(terms[name], sample_weight=rows)
        return sum(
            weight * terms[name]
            for name, weight in weights.items()
            if training or name not in self.passing_losses
        )

    @property
    def shown_terms(self):
        """Names of the terms that `fit` and `evaluate` show beside the loss."""
        return tuple(self.term_weights)

    @property
    def metrics(self):
        if not self._loss_means:
            return super().metrics
        shown = self.shown_terms
        hidden = {
            id(mean)
            for name, mean in self._loss_means.items()
            if name not in shown
        }
        return [m for m in super().metrics if id(m) not in hidden]

    # === Steps ===

    def compile(self, optimizer, **kwargs):
        check_no_target_losses(self, kwargs)
        self._check_trained_dtypes()
        super().compile(optimizer=optimizer, **kwargs)

    def _check_trained_dtypes(self):
        """Refuses float16 weights, which no optimizer here can train.

        What they divide by, of gradients squared, is zero in float16.
        """
        if any(v.dtype == "float16" for v in self.trainable_variables):
            raise ValueError(
                "`dtype` must be another where a model is trained: take "
                "'mixed_bfloat16', or 'mixed_float16', which keeps weights in "
                f"float32. Received: dtype={self.dtype_policy.name!r}"
            )

    def get_compile_config(self):
        # With LoRA the file has merged weights, which the optimizer has no
        # state for.
        if (
            not self.compiled
            or not self.compile_arguments
            or lora.has_lora(self)
        ):
            return {}
        config = {
            name: value
            for name, value in super().get_compile_config().items()
            if name not in TARGET_LOSSES
        }
        own = {name: getattr(self, name) for name in self.compile_arguments}
        # What random numbers come next: Keras saves no such state.
        seed = keras.ops.convert_to_numpy(self.seed_generator.state)
        return {**config, **own, "seed_state": seed.tolist()}

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        self.seed_generator.state.assign(config.pop("seed_state"))
        self.compile(**config)
        self.optimizer.build(self.trainable_variables)

    def batch_inputs(self, training):
        """The arrays of a batch, a dict of `Input`; `None` for no dict.

        Args:
            training: bool. Whether of `fit` and `evaluate`; or of `predict`.
        """
        return None

    def check_data(self, x, argument, training=True):
        """Refuses data that a model cannot take, before the first step.

        Args:
            x: what the user gave to `fit`, `evaluate` or `predict`.
            argument: string. What it is called there.
            training: bool, as in `batch_inputs`.
        """
        inputs = self.batch_inputs(training)
        if inputs is not None:
            check_data(x, inputs, argument)

    def _looked_at(self, x, argument, training=True):
        """The same data for Keras, after `check_data`."""
        x, inputs = looked_at(x, argument)
        self.check_data(inputs, argument, training)
        return x

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit`, without targets and with a guard against NaN."""
        options = by_name(keras.Model.fit, (x, *args), kwargs)
        check_no_targets(self, options)
        x = options["x"] = self._looked_at(options["x"], "x")
        x_val = options.get("validation_data")
        if x_val is not None:
            x_val, *others = validation_parts(x_val)
            check_no_targets(self, dict(zip(TARGETS, others, strict=False)))
            x_val = self._looked_at(x_val, "validation_data")
            if is_stream(x_val):
                # What is trained on, given here too, would go on by itself.
                x_val = copy.copy(x_val)
            options["validation_data"] = x_val
        options["callbacks"] = known_callbacks(
            options.get("callbacks"), self.larger_is_better
        )
        if lora.has_lora(self):
            check_no_backup(options["callbacks"])
        # A model that was not compiled has none, as Keras says later.
        optimizer = getattr(self, "optimizer", None)
        check_one_learning_rate(options["callbacks"], optimizer)
        self._initial_epoch = None  # what a backup of the last `fit` set
        with contextlib.ExitStack() as scopes:
            for data in (x, x_val):
                if is_stream(data):
                    scopes.enter_context(data.shared())
            self._check_whole_batches(x, x_val, options)
            if is_stream(x):
                # Which is then in the order that is wanted: batches inside an
                # epoch are not permuted.
                in_training = x.in_training(
                    options.get("shuffle"), options.pop("steps_per_epoch", None)
                )
                scopes.enter_context(in_training)
                options["shuffle"] = False
            scopes.enter_context(self._kept_variables())
            return super().fit(**options)

    def _check_whole_batches(self, x, x_val, options):
        """Refuses what devices cannot share equally, before an epoch ends."""
        batch_size = options.get("batch_size")
        val_batch_size = options.get("validation_batch_size") or batch_size
        split = options.get("validation_split") or 0.0
        num_rows = None
        if x_val is not None:
            check_whole_batches(x_val, val_batch_size)
        elif split and are_arrays(x):
            # As Keras splits them.
            num_rows = math.floor(count_rows(x) * (1.0 - split))
            num_others = count_rows(x) - num_rows
            check_whole_batches(x, val_batch_size, num_rows=num_others)
        check_whole_batches(
            x, batch_size, self.gradient_accumulation_steps, num_rows
        )

    def evaluate(self, x=None, *args, **kwargs):
        """`keras.Model.evaluate`, without targets."""
        if not self.compiled:
            raise ValueError("You must call `compile()` before `evaluate()`.")
        options = by_name(keras.Model.evaluate, (x, *args), kwargs)
        check_no_targets(self, options)
        # `fit` looks at its validation data once, and Keras keeps them: of a
        # generator nothing may be taken here.
        is_known = options.get("_use_cached_eval_dataset")
        if not is_known:
            options["x"] = self._looked_at(options["x"], "x")
        x = options["x"]
        shared = x.shared() if is_stream(x) else contextlib.nullcontext()
        with shared:
            if not is_known:
                check_whole_batches(x, options.get("batch_size"))
            with self._kept_variables():
                return super().evaluate(**options)

    def predict(
        self, x, batch_size=None, verbose="auto", steps=None, callbacks=None
    ):
        """`keras.Model.predict`, of any number of rows.

        Under a distribution Keras would neither fill up the last batch nor
        fetch what is on other machines. With `callbacks`, which Keras alone
        calls, the devices must divide each batch there. Each process gives
        all rows, and gets them.

        Raises:
            ValueError: if they do not divide one.
        """
        if batch_size is not None:
            batch_size = check_int(batch_size, "batch_size")
        if steps is not None:
            steps = check_int(steps, "steps")
        x = self._looked_at(x, "x", training=False)
        distribution = keras.distribution.distribution()
        if distribution is not None and distribution.num_processes > 1:
            check_not_shared(x)
        if distribution is None or callbacks:
            check_whole_batches(x, batch_size)
            with self._kept_variables():
                return super().predict(x, batch_size, verbose, steps, callbacks)
        verbose = 1 if verbose == "auto" else verbose
        if is_dataset(x):
            return self._predict_dataset(x, verbose, steps)
        inputs = keras.tree.map_structure(np.asarray, x)
        batch_size = batch_size or DEFAULT_BATCH_SIZE
        if steps is not None:
            inputs = keras.tree.map_structure(
                lambda x: x[: steps * batch_size], inputs
            )
        progress = keras.utils.Progbar(
            count_rows(inputs), verbose=verbose, unit_name="row"
        )
        return map_batches(
            self._predict_function,
            [inputs],
            batch_size,
            on_batch=progress.update,
        )

    def _predict_dataset(self, x, verbose, steps):
        """Of each batch as it comes, filled up to what devices can share."""
        num_batches = getattr(x, "num_batches", None)
        progress = keras.utils.Progbar(steps or num_batches, verbose=verbose)
        results = []
        for inputs in itertools.islice(dataset_inputs(x), steps):
            num_rows = count_rows(inputs)
            results.append(
                map_batches(self._predict_function, [inputs], num_rows)
            )
            progress.add(1)
        return np.concatenate(results)

    @property
    def _predict_function(self):
        return self._compiled.get(
            "predict", lambda inputs: fetchable(self.predict_outputs(inputs))
        )

    def train_on_batch(self, x, *args, **kwargs):
        """`keras.Model.train_on_batch`, without targets."""
        options = self._of_batch(keras.Model.train_on_batch, x, *args, **kwargs)
        parts = self.gradient_accumulation_steps
        check_whole_batches(options["x"], LARGEST_INT, parts)
        return super().train_on_batch(**options)

    def test_on_batch(self, x, *args, **kwargs):
        """`keras.Model.test_on_batch`, without targets."""
        options = self._of_batch(keras.Model.test_on_batch, x, *args, **kwargs)
        check_whole_batches(options["x"], LARGEST_INT)
        return super().test_on_batch(**options)

    def predict_on_batch(self, x):
        """`keras.Model.predict_on_batch`."""
        x = self._looked_at(x, "x", training=False)
        return super().predict_on_batch(x)

    def _of_batch(self, method, *args, **kwargs):
        options = by_name(method, args, kwargs)
        check_no_targets(self, options)
        options["x"] = self._looked_at(options["x"], "x")
        return options

    def train_step(self, *args, **kwargs):
        with self._inside("train"):
            return super().train_step(*args, **kwargs)

    def test_step(self, *args, **kwargs):
        with self._inside("test"):
            return super().test_step(*args, **kwargs)

    def predict_step(self, *args, **kwargs):
        with self._inside("predict"):
            return super().predict_step(*args, **kwargs)

    def _kept_variables(self):
        variables = [*self.variables, *self.metrics_variables]
        if self.compiled:
            if self.built and not self.optimizer.built:
                # Keras would take a batch of the data to build it, and with
                # it what loaders have read ahead.
                self.optimizer.build(self.trainable_variables)
            variables += self.optimizer.variables
        return kept(variables, self)
