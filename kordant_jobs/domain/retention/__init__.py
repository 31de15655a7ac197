"""Retention terms of each kind of data, their legal ground, and holds that extend them. Pure."""
