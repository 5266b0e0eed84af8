"""Generators, the discriminator, their layers and the files of generators."""
