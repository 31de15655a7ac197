"""Providers of bank data: Pluggy, Open Finance Brasil servers, Belvo; and files of banks. Each provider's signs, dates
and enums are converted here, in one place."""
