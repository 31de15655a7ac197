"""What follows from recorded instruments for those who watch a parcel or a name. Pure: no clock, no database."""
