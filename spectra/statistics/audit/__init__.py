"""What must be known of a population before any spectrum is believed."""
