"""Voices: what is measured of a clip, what follows from it, and what may be said. Pure."""
