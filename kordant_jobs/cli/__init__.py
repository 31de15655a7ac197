"""The command line: a module a group of commands. It opens what is needed and asks; no rule is here."""
