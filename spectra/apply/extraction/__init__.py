"""What a network makes of items: its hidden states, pooled over tokens."""
