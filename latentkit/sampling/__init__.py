"""Drawing samples from a generator: plain, and with its prior truncated."""
