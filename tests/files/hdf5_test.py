import h5py
import numpy as np
import pytest

from keras_muse.files.hdf5 import open_hdf5


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["layer/vars/0"] = np.ones((3, 4), "float32")
        file["layer/vars/1"] = np.ones(3, "float16")
        file.create_group("empty")
        file.attrs["model"] = "mine"
    return path


def test_weights_are_read(path):
    with open_hdf5(path) as file:
        assert file["layer/vars/0"].shape == (3, 4)
    # As Keras writes bfloat16.
    with h5py.File(path, "a") as file:
        file["layer/vars/2"] = np.zeros(3, "V2")
        file["names"] = ["a", "b"]
    with open_hdf5(path):
        pass


def external_link(file, secret):
    file["stolen"] = h5py.ExternalLink(str(secret), "secret")


def soft_link(file, secret):
    file["stolen"] = h5py.SoftLink("/layer/vars/0")


def external_storage(file, secret):
    file.create_dataset("stolen", (4,), "uint8", external=[(str(secret), 0, 4)])


def virtual(file, secret):
    layout = h5py.VirtualLayout((4,), "float32")
    layout[:] = h5py.VirtualSource(str(secret), "secret", (4,))
    file.create_virtual_dataset("stolen", layout)


def huge(file, secret):
    file.create_dataset("stolen", (2**34,), "float32", chunks=(2**20,))


def compound(file, secret):
    file.create_dataset("stolen", (2,), np.dtype([("a", "f4")]))


@pytest.mark.parametrize(
    "add",
    [external_link, soft_link, external_storage, virtual, huge, compound],
)
def test_what_leads_elsewhere_or_claims_too_much(path, tmp_path, add):
    secret = tmp_path / "secret"
    with h5py.File(secret, "w") as file:
        file["secret"] = np.ones(4, "float32")
    with h5py.File(path, "a") as file:
        add(file, secret)
    with pytest.raises(ValueError, match="weights.h5.*`/stolen`"):
        with open_hdf5(path):
            pass


@pytest.mark.parametrize("cut", [0, 1, 100, 1000, -1, -100])
def test_a_damaged_file_names_itself(path, cut):
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="weights.h5.*cannot be read"):
        with open_hdf5(path):
            pass


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="nowhere.h5.*cannot be read"):
        with open_hdf5(tmp_path / "nowhere.h5"):
            pass
