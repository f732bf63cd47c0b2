"""From tables and arrays to pictures; nothing is trained or scored here."""
