"""The kit for Amazon MWAA: ``python -m deploy.mwaa`` writes what an environment is given."""
