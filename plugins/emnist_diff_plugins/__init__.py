"""The built-ins: each folder registers what stands in it, through the same door as a third party's package."""
