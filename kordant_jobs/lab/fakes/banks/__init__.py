"""Fakes of bank providers: real HTTP servers over one ledger of truth, with the contract's behaviours and faults."""
