"""What the commands on login nodes share."""
