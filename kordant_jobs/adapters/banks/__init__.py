"""Providers of bank data: Pluggy, Open Finance Brasil servers, Belvo; and files of banks. Signs, days and enums of each
are decided here, once."""
