"""Small tools of the repository itself: the Makefile's targets that need more than a line. Never part of the wheel."""
