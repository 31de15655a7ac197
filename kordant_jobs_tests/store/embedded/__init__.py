"""Tests of the embedded server: real servers, real processes, real signals."""
