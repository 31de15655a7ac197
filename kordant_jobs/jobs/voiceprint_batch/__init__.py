"""voiceprint_batch: compares the voices in clips with the enrolled voices of the family."""
