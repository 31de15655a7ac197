"""Sound in, facts out: decoding, speech detection, speaker embeddings, and the screen for older synthesis.

What follows from the facts is `domain.voice`'s. The packages and model files are an extra (`kordant-jobs models pull`).
"""
