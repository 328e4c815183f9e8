"""Code that the commands on login nodes share."""
