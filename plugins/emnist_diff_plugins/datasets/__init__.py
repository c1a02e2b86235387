"""Dataset readers: labelled images, decoded once."""
