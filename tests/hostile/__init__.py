"""Pictures and texts made to do harm, and what watches that none does: docs/security-tests.md."""
