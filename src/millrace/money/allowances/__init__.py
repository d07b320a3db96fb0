"""What a key may use: money in its month, requests and tokens in its minute. Knows no accounts."""
