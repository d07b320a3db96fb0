"""Where models come from: hubs, addresses and folders."""
