"""Text-to-image pipelines as families of denoisers: Stable Diffusion XL and 3, and Flux, from folders as diffusers
saves them. diffusers has the networks and transformers the text encoders; walking, steering and recording is the
engine's."""
