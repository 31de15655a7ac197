"""Access control: roles, the policy table, tokens, change sets, and entries of the audit log. Pure."""
