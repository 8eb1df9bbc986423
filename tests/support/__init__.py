"""What tests share: builders and behaving fakes."""
