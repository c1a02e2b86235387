"""Objectives: on which forward process a denoiser is trained, and to predict what. Their records stand with those of
denoisers."""
