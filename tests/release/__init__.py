"""Makes the files of a release and checks them: ``make release``, ``changelog`` and ``audit``."""
