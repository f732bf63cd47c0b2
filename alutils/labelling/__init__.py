"""A person's own photographs: checked, chosen, sent to an annotation tool, and read back."""
