"""An environment of Amazon MWAA, laid out on this machine: the kit is installed and used there."""
