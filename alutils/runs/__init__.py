"""Rounds of active learning, saved and resumed."""
