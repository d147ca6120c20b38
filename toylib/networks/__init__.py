"""Real networks, their stimuli, and measures of their neurons."""
