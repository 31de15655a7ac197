"""Voices: the measurements of a clip, the rules for its verdict, and enrolments. Pure."""
