"""What was collected: lists, feed, statistics."""
