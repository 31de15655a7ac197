"""Fakes of counties' servers, with the traps of the real ones."""
