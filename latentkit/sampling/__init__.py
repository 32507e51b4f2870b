"""Drawing samples from a generator: plain, with its prior truncated, guided by a critic, and matched to data."""
