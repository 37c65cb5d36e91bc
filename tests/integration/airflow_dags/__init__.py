"""DAGs that only tests run."""
