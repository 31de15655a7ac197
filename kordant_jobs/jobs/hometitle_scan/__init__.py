"""hometitle_scan: watched parcels and owners against county records."""
