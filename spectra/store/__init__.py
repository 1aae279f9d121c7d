"""What survives the process: the run file."""
