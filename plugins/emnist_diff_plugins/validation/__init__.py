"""Samples of a network while it is being trained, by a loop of anyone's: see `Validation`."""

from emnist_diff_plugins.validation.network import NetworkDenoiser as NetworkDenoiser
from emnist_diff_plugins.validation.validation import Validation as Validation

__all__ = ["NetworkDenoiser", "Validation"]
