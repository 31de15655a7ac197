"""Measures sound files: decoding, speech detection, speaker embeddings, and the screen for older synthesis.

The rules that turn the measurements into verdicts are in `domain.voice`. The packages and model files are optional;
`kordant-jobs models pull` installs them.
"""
