"""voiceprint_batch: clips of voices against the family's enrolled ones."""
