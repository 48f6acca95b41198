"""Artifacts that `export` writes, read by the library they are for."""

import keras


def outputs_of_artifact(directory, model, inputs):
    """What the artifact of a model makes of numpy inputs."""
    if keras.config.backend() == "torch":
        import torch

        path = directory / "model.pt2"
        model.export(path, format="torch", verbose=False)
        program = torch.export.load(path).module()
        with torch.no_grad():
            return program(keras.tree.map_structure(torch.tensor, inputs))
    import tensorflow as tf

    model.export(directory / "artifact", verbose=False)
    artifact = tf.saved_model.load(directory / "artifact")
    return artifact.serve(keras.tree.map_structure(tf.constant, inputs))
