"""What the accounts of a household or small firm say: streams, price rises, duplicates, cash flow, forecast. Pure."""
