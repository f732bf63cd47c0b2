"""From tables to numbers, pictures and pages."""
