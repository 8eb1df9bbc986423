"""The product's ports under the schedule: each call is a switch point, and each can fail as in production."""
