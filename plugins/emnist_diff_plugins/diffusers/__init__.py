"""What this package and diffusers have to say to each other."""
