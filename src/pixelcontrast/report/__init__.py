"""One page that shows a run, or several beside each other, made from their files alone."""
