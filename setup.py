import pathlib
import re

from setuptools import find_packages
from setuptools import setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
    r'"(.+)"', (ROOT / "keras_muse/version.py").read_text()
).group(1)

# tensorflow-text has wheels for Linux on x86 and for macOS only.
TENSORFLOW_TEXT = (
    "tensorflow-text>=2.21.1; sys_platform == 'darwin' or "
    "(sys_platform == 'linux' and platform_machine == 'x86_64')"
)
# Of 6.31 is known which of its doors the page goes through.
DEMO = ["gradio>=6.31,<7"]
TESTS = [
    *DEMO,
    "diffusers>=0.38",
    "hypothesis>=6",
    "ipykernel",
    "nbclient",
    "nbformat",
    "pytest>=8.2",
    "pytest-xdist",
    "ruff==0.17.6",
    # The page in a browser, which is the distribution's own.
    "selenium>=4.11",
    "tensorboard",
    "torch==2.13.0",
    "torchmetrics>=1.9",
    "transformers>=5",
]

# Peers that the benchmarks compare with.
PEERS = [
    "diffusers",
    "muse-maskgit-pytorch",
    "torch==2.13.0",
    "torchvision",
    "transformers>=5",
]

setup(
    name="keras-muse",
    version=VERSION,
    description="Muse in Keras: text to image with masked transformers",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["keras_muse", "keras_muse.*"]),
    package_data={"keras_muse": ["assets/*/*", "assets/*/*/*"]},
    entry_points={"console_scripts": ["keras-muse=keras_muse.cli:main"]},
    install_requires=[
        "keras>=3.15",
        "keras-nlp>=0.32",
        "keras-cv>=0.9",
        "jax>=0.10",
        "tensorflow>=2.21",
        TENSORFLOW_TEXT,
        # Token shards: global shuffle, exact resume.
        "grain>=0.2.18",
        "array-record>=0.8",
        # Checkpoints of trainings: sharded, asynchronous, atomic.
        "orbax-checkpoint>=0.12",
        "safetensors>=0.5",
        # The cache of compiled programs, shared by processes.
        "filelock",
        # Settings and weights of published VQGANs.
        "pyyaml",
        "msgpack",
        "pillow>=10",
        "scipy>=1.11",
        # The Pareto curve of an evaluation.
        "matplotlib>=3.8",
    ],
    extras_require={
        "cuda": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "demo": DEMO,
        "tensorboard": ["tensorboard"],
        "bench": PEERS,
        "test": TESTS,
        "dev": [*TESTS, "pre-commit", "resvg_py"],
    },
)
