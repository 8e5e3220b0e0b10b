"""Which candidates a sweep tries: spaces of settings, and the ways through them. Nothing is trained here."""
