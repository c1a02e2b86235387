"""Document 002's dataset of a sample, with schema 1.0.0 and its names: made from trajectory files, and checked.

Checking needs neither torch nor h5py.
"""

SCHEMA_VERSION = "1.0.0"

METADATA, METRICS, PLANE, VALIDATION, LATENTS = (
    "metadata.json",
    "metrics.json",
    "latent_pca.json",
    "validation.json",
    "latents_noise_fp16.npz",
)
"""Files of a dataset, beside images/ and attention/."""
