"""How jobs are added: checked before the first write, then put in place."""
