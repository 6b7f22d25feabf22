"""What a user would otherwise write, as well as they would: one module a job."""
