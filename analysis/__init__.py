"""What is measured: contact sheets now; sweeps, scores and verdicts to come."""
