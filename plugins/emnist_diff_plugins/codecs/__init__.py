"""Codecs: autoencoders between images and the latents that denoisers walk through. Their records stand with those of
denoisers."""
